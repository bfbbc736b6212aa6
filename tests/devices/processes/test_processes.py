"""Several real processes train one run: the same numbers, and no end without a word."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from cnnjax import load_run
from cnnjax.data.dataset import load_dataset
from cnnjax.data.request import Request
from cnnjax.devices.watchdog import EXIT_LOST, LOST_AFTER_SECONDS
from cnnjax.records import read_json, read_metrics
from tests.devices.processes.conftest import ROOT, SMALL, free_port
from tests.devices.processes.small import get_config

ENDLESS = "--config.train.steps=400000"


def records(workdir, num_seeds=2):
    """Results without what they cost, and rows of metrics."""
    results = [read_json(workdir / f"seed-{s}/result.json") for s in range(num_seeds)]
    rows = [read_metrics(workdir / f"seed-{s}/metrics.jsonl") for s in range(num_seeds)]
    of_speed = ("cost", "digest")
    return [{k: v for k, v in r.items() if k not in of_speed} for r in results], rows


def assert_close(a, b):
    """Rows of two trainings that add up in another order."""
    for one, other in zip(a, b, strict=True):
        assert [r["step"] for r in one] == [r["step"] for r in other]
        losses = ([r["loss"] for r in rows] for rows in (one, other))
        np.testing.assert_allclose(*losses, rtol=5e-3, atol=1e-3)


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def images_of_test():
    test = load_dataset(Request(**get_config().data)).test
    return test.images, test.labels


@pytest.fixture(scope="module")
def alone(tmp_path_factory, programs):
    """`records` of one process."""
    folder = tmp_path_factory.mktemp("alone")
    ended = programs.run(folder, "train", SMALL, "--workdir=run")
    assert ended.code == 0, ended
    return records(folder / "run")


def test_two_processes_are_one_process(start, ended, tmp_path, alone):
    """To the bit, with a seed in each."""
    runs = start(2, SMALL, "--workdir=run")
    for i, process in enumerate(runs):
        end = ended(process)
        assert end.code == 0, end.err
        assert ("results in" in end.out) == (i == 0)
    assert records(tmp_path / "run") == alone
    wrote = (tmp_path / "run/checkpoints").glob("*/state/ocdbt.process_*")
    assert {path.name[-1] for path in wrote} == {"0", "1"}
    # One process takes the weights out of what two have written.
    for seed, result in enumerate(alone[0]):
        net = load_run(tmp_path / "run", "last", seed)
        images, labels = images_of_test()
        logits = net.network.apply(net.variables, net.preprocess(images), train=False)
        error = 100 * np.sum(np.argmax(logits, -1) != labels) / len(labels)
        assert error == result["final"]["test"]["error"] == net.test_error


@pytest.mark.slow
def test_one_of_four_is_killed_and_two_resume(start, ended, tmp_path, alone):
    flags = (SMALL, "--workdir=run")
    checkpoints = tmp_path / "run/checkpoints"
    runs = start(4, *flags, "--parallel.layout=seed=2,data=2")
    wait_for(lambda: any(p.name.isdigit() for p in checkpoints.glob("*")))
    runs[3].kill()
    killed = time.monotonic()
    for i, end in enumerate(map(ended, runs)):
        if i < 3:
            assert end.code == EXIT_LOST, end.err
            assert "process 3 of 4 has sent no heartbeat" in end.sentences[-1]
        assert "the same command resumes" in end.sentences[-1]
        assert len(end.sentences) == 1
    assert time.monotonic() - killed < LOST_AFTER_SECONDS + 10

    for process in start(2, *flags, "--parallel.layout=data=2"):
        end = ended(process)
        assert end.code == 0, end.err
    results, rows = records(tmp_path / "run")
    expected, expected_rows = alone
    assert_close(rows, expected_rows)
    for one, other in zip(results, expected, strict=True):
        assert one["config_hash"] == other["config_hash"]


@pytest.mark.slow
def test_sigterm_to_one_stops_all_and_saves(start, ended, tmp_path):
    runs = start(2, SMALL, ENDLESS, "--workdir=run")
    wait_for(lambda: (tmp_path / "run/seed-0/metrics.jsonl").is_file())
    runs[1].send_signal(signal.SIGTERM)
    ends = [ended(process) for process in runs]
    assert [end.code for end in ends] == [143, 143], ends[0].err
    assert "the same command resumes" in ends[0].out
    assert any((tmp_path / "run/checkpoints").glob("[0-9]*"))


@pytest.mark.slow
def test_the_loss_of_process_0_is_reported_by_the_others(start, ended, tmp_path):
    """It holds the store through which they could tell each other."""
    runs = start(2, SMALL, ENDLESS, "--workdir=run")
    wait_for(lambda: (tmp_path / "run/seed-0/metrics.jsonl").is_file())
    runs[0].kill()
    end = ended(runs[1], timeout=LOST_AFTER_SECONDS + 20)
    assert end.code != 0
    assert "the same command resumes" in end.sentences[-1]


MEETINGS = """
from cnnjax.errors import UserError
from cnnjax.devices import distributed
from cnnjax.records import is_writer

for given in (("127.0.0.1:9", None, None), ("", 2, None), ("127.0.0.1:9", 2, 2)):
    try:
        with distributed.joined(*given):
            print("they met")
    except UserError as error:
        print(error)
with distributed.joined("", None, None):
    print(distributed.num_processes(), is_writer(), flush=True)
distributed.JOIN_SECONDS = 1
with distributed.joined(ADDRESS, 2, 0):
    print("it met nobody")
"""


def test_meetings_that_fail_and_none_at_all():
    """In a fresh process, because JAX must not have begun."""
    code = MEETINGS.replace("ADDRESS", f"'127.0.0.1:{free_port()}'")
    end = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    lines = end.stdout.splitlines()
    assert ["go together" in line for line in lines] == [True, True, False, False]
    assert "process_id < num_processes" in lines[2]
    assert lines[3] == "1 True"
    assert end.returncode != 0
    assert "a process did not meet the others within 1 s" in end.stderr


@pytest.mark.slow
def test_a_mistake_is_reported_once_and_ends_all(start, ended):
    ends = [ended(p) for p in start(2, SMALL, "--config.model.act=rleu")]
    assert [end.code for end in ends] == [2, 2]
    assert all("'rleu'" in end.sentences[0] for end in ends)
    assert all(len(end.sentences) == 1 for end in ends)
