"""Killed at any moment and started again, a run gives the same numbers, bit for bit.

Programs here share compiled code through JAX's own cache on disk: compiling again and
again would take minutes. A first start fills it.
"""

import csv
import json
import os
import random
import re
import signal
import time

import pytest

from cnnjax.ablation.judge.collect import COST_KEYS
from tests.programs import Programs, keeping_programs
from tests.slow import slow

ABLATE = (
    "ablate",
    "--scale=smoke",
    "--seeds=2",
    "--set=data.num_train=256",
    "--set=data.num_test=64",
    # One stage of equal blocks compiles in a third of the time of three.
    "--set=model.widths=(8,)",
    "--set=train.epochs=6",
    "--set=train.steps_per_dispatch=2",
    "--set=checkpoint.every_epochs=1",
    "--set=log.tensorboard=False",
    "--workdir=run",
)
TRAIN = (
    "train",
    "--config=mlp_mnist",
    "--seeds=2",
    "--config.data.name=digits",
    "--config.data.num_validation=100",
    "--config.train.epochs=8",
    "--config.train.steps_per_dispatch=1",
    "--config.checkpoint.every_epochs=0.5",
    "--workdir=run",
)
# When to kill an ablation: after which new file, and how many seconds later at most.
CHECKPOINT = "run/*/checkpoints/*[0-9]"
MOMENTS = [
    ("run/plan.json", 1.0),  # compiling
    (CHECKPOINT, 0.3),  # training
    ("run/*/checkpoints/*tmp*", 0.02),  # saving
    ("run/*/seed-0/result.json", 0.01),  # writing results
    (CHECKPOINT, 0.3),
    ("run/results.csv", 0.5),  # reporting
]


def finish(programs, here, *command):
    """Runs a program to its end; returns what it said."""
    ended = programs.run(here, *command)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


def interrupt(programs, here, command, pattern, delay, signum=signal.SIGKILL):
    """Sends a signal some seconds after a new file that fits a pattern appears."""
    before = set(here.glob(pattern))
    process = programs.start(here, *command)
    while is_running(process) and set(here.glob(pattern)) <= before:
        time.sleep(0.002)
    time.sleep(delay)
    if is_running(process):
        os.kill(process, signum)
    return programs.wait()


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Starts programs beside those of `programs`."""
    server = Programs(**keeping_programs(tmp_path_factory.mktemp("compiled")))
    yield server
    server.close()


@pytest.fixture
def compiling():
    """Starts a program that finds nothing compiled."""
    server = Programs()
    yield server
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["TRAIN", "ABLATE"])
def test_two_at_once(here, programs, other, command):
    """One is refused and has changed nothing; the other one's numbers are whole."""
    command = globals()[command]
    whole = here.parent / "whole"
    whole.mkdir()
    finish(programs, whole, *command)
    programs.start(here, *command)
    other.start(here, *command)
    ends = sorted((programs.wait(), other.wait()))
    assert [ended.code for ended in ends] == [0, 2]
    assert re.fullmatch(
        r"error: .* being trained by process \d+ on .*: wait for it, .*\n", ends[1].err
    )
    assert numbers(here / "run") == numbers(whole / "run")


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def numbers(folder):
    """Everything in the files of a run or an ablation but what depends on speed."""
    found = {}
    for path in sorted(folder.rglob("metrics.jsonl")):
        found[str(path.relative_to(folder))] = path.read_bytes()
    for path in sorted(folder.rglob("result.json")):
        result = json.loads(path.read_text())
        for of_speed in ("cost", "digest"):
            result.pop(of_speed, None)
        found[str(path.relative_to(folder))] = result
    for path in folder.glob("results.csv"):
        rows = csv.DictReader(path.read_text().splitlines())
        found[path.name] = [
            {key: value for key, value in row.items() if key not in COST_KEYS}
            for row in rows
        ]
    return found


def finished_cells(folder):
    """When each result was written, of the arms whose seeds all have one."""
    return {
        path: path.stat().st_mtime_ns
        for arm in folder.iterdir()
        if len(results := list(arm.glob("seed-*/result.json"))) == 2
        for path in results
    }


@pytest.fixture(scope="module")
def whole_ablation(tmp_path_factory, programs):
    """The numbers of an ablation that nobody disturbed, two arms at a time."""
    here = tmp_path_factory.mktemp("whole")
    finish(programs, here, *ABLATE, "--jobs=2")
    return numbers(here / "run")


@pytest.fixture(scope="module")
def whole_training(tmp_path_factory, programs):
    """The numbers of a single training that nobody disturbed."""
    here = tmp_path_factory.mktemp("whole")
    finish(programs, here, *TRAIN)
    return numbers(here / "run")


def test_what_is_compared_of_a_training(whole_training):
    assert len(whole_training) == 2 + 2


@pytest.mark.slow
def test_what_is_compared(whole_ablation):
    rows = whole_ablation["results.csv"]
    assert len(rows) == 8
    assert all((row["status"], row["step"]) == ("done", "24") for row in rows)
    assert set(rows[0]) >= {"arm", "seed", "train_error", "test_error", "config_hash"}
    assert len(whole_ablation) == 1 + 8 + 8
    metrics = whole_ablation["plain-8/seed-1/metrics.jsonl"].splitlines()
    # Six epochs: training each, validation each, and the other two splits at the end.
    assert len(metrics) == 6 + 6 + 2


@pytest.mark.slow
def test_one_arm_at_a_time_gives_the_same(whole_ablation, here, programs):
    finish(programs, here, *ABLATE, "--jobs=1")
    assert numbers(here / "run") == whole_ablation


@pytest.mark.slow
def test_ablation_killed_again_and_again(whole_ablation, here, programs):
    run, command = here / "run", (*ABLATE, "--jobs=2")
    draw, finished = random.Random(0), {}
    for pattern, longest_delay in MOMENTS:
        delay = draw.uniform(0, longest_delay)
        assert (
            interrupt(programs, here, command, pattern, delay).code == -signal.SIGKILL
        )
        assert finished.items() <= finished_cells(run).items()
        finished = finished_cells(run)
    assert len(finished) == 8
    finish(programs, here, *command)
    assert numbers(run) == whole_ablation
    assert finished_cells(run) == finished


@pytest.mark.slow
def test_ablation_asked_to_stop(whole_ablation, here, programs):
    command = (*ABLATE, "--jobs=2")
    ended = interrupt(programs, here, command, CHECKPOINT, 0, signal.SIGTERM)
    assert (ended.code, ended.err) == (128 + signal.SIGTERM, "")
    assert ended.out.endswith("interrupted; the same command resumes\n")
    finish(programs, here, *command)
    assert numbers(here / "run") == whole_ablation
    # And once more when all is done.
    finished = finished_cells(here / "run")
    assert "4 of 4 cells are already done" in finish(programs, here, *command)
    assert finished_cells(here / "run") == finished
    assert numbers(here / "run") == whole_ablation


@pytest.mark.slow
def test_cells_in_processes_of_their_own(whole_ablation, here, programs):
    finish(programs, here, *ABLATE, "--launcher=local", "--jobs=2")
    assert numbers(here / "run") == whole_ablation


def test_training_killed_again_and_again(whole_training, here, programs):
    draw = random.Random(1)
    for _ in range(3):
        delay = draw.uniform(0, 0.2)
        ended = interrupt(programs, here, TRAIN, "run/checkpoints/*", delay)
        assert ended.code == -signal.SIGKILL
    assert "resumes at step" in finish(programs, here, *TRAIN)
    assert numbers(here / "run") == whole_training


@pytest.mark.parametrize(
    "signum", [signal.SIGTERM, slow(signal.SIGINT), slow(signal.SIGHUP)]
)
def test_training_asked_to_stop(whole_training, here, programs, signum):
    ended = interrupt(programs, here, TRAIN, "run/checkpoints/*", 0.1, signum)
    assert (ended.code, ended.err) == (128 + signum, "")
    step = re.search(r"stopped at step (\d+); the same command resumes", ended.out)[1]
    assert (here / "run" / "checkpoints" / step).is_dir()
    assert f"resumes at step {step}," in finish(programs, here, *TRAIN)
    assert numbers(here / "run") == whole_training


@pytest.mark.slow
def test_asked_to_stop_while_compiling(whole_training, here, compiling, programs):
    record = "run/provenance.json"
    ended = interrupt(compiling, here, TRAIN, record, 0, signal.SIGTERM)
    assert (ended.code, ended.err) == (128 + signal.SIGTERM, "")
    assert "stopped at step 0; the same command resumes" in ended.out
    finish(programs, here, *TRAIN)
    assert numbers(here / "run") == whole_training
