"""Interrupted ablations and runs on a real SLURM give the uninterrupted results."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cnnjax.ablation.plan import load_ablation, make_plan
from cnnjax.config import splat
from cnnjax.data.dataset import load_dataset
from cnnjax.data.request import Request
from cnnjax.records import write_json
from tests.programs import QUICK_TO_COMPILE, Programs, keeping_programs
from tests.run.test_interruption import finish, numbers

# Daemons to start, and jobs to wait for.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
ABLATE = (
    "ablate",
    "--scale=smoke",
    "--seeds=1",
    "--set=data.num_train=128",
    "--set=data.num_test=64",
    "--set=model.widths=(8,)",
    "--set=train.epochs=60",
    "--set=train.steps_per_dispatch=1",
    "--set=eval.every_epochs=20",
    "--set=checkpoint.every_epochs=20",
    "--set=log.tensorboard=False",
    "--workdir=run",
)
TRAIN = (
    "--config=mlp_mnist",
    "--seeds=2",
    "--config.data.name=digits",
    "--config.data.num_validation=100",
    "--config.train.epochs=15",
    "--config.train.steps_per_dispatch=1",
    "--config.checkpoint.every_epochs=5",
)
DISTURBED = {"plain-8": "KILL", "residual-8": "TERM"}
LONGEST_SECONDS = 60


@pytest.fixture(scope="module")
def variables(slurm, tmp_path_factory):
    """Environment of programs and jobs, which share compiled programs."""
    return slurm.variables | {
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": QUICK_TO_COMPILE,
        **keeping_programs(tmp_path_factory.mktemp("compiled")),
    }


@pytest.fixture(scope="module")
def caching(variables):
    server = Programs(**variables)
    yield server
    server.close()


def wait_for(condition):
    """The first true value of a condition."""
    end = time.monotonic() + LONGEST_SECONDS
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def is_saved(folder):
    return lambda: list(folder.glob("checkpoints/[0-9]*"))


def stop_at_first_checkpoint(folders):
    """Stops the process of each run when it has saved; returns their numbers.

    A command of SLURM may take seconds, in which a run that is not stopped would end.
    """
    stopped = {}

    def each_has_saved():
        for folder in folders:
            if folder not in stopped and is_saved(folder)():
                pid = json.loads((folder / "progress.json").read_text())["pid"]
                os.kill(pid, signal.SIGSTOP)
                stopped[folder] = pid
        return len(stopped) == len(folders)

    wait_for(each_has_saved)
    for folder in folders:
        assert not list(folder.glob("seed-*/result.json")), "ended: train for longer"
    return [stopped[folder] for folder in folders]


def disturb(slurm, job, pid, name):
    """Sends a signal by SLURM to a process that is stopped, then lets it run."""
    slurm.command("scancel", f"--signal={name}", f"{job}.0")
    wait_for(has_got(pid, getattr(signal, f"SIG{name}")))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def has_got(pid, number):
    """Whether a process that is stopped has a signal waiting, or was killed by it."""

    def got():
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            assert number == signal.SIGKILL, "it has ended"
            return True
        waiting = re.findall(r"(?:SigPnd|ShdPnd):\s*(\w+)", status)
        bits = [int(mask, 16) >> (number - 1) & 1 for mask in waiting]
        return any(bits) or "State:\tZ" in status

    return got


def fingerprint():
    """Of the images of `ABLATE`."""
    changes = {"data.num_train": 128, "data.num_test": 64}
    plan = make_plan(
        load_ablation("degradation"),
        "smoke",
        num_seeds=1,
        data_dir="",
        workdir="nowhere",
        changes=changes,
    )
    request = splat("data", Request, plan.cells[0].config.data)
    return load_dataset(request).fingerprint


def test_a_disturbed_sweep(slurm, caching, here):
    """Two arms with SLURM, one killed and one preempted, and two that are done."""
    inline, run = here.parent / "inline", here / "run"
    inline.mkdir()
    for folder in (inline, here):
        for arm in ("plain-14", "residual-14"):
            result = folder / "run" / arm / "seed-0" / "result.json"
            write_json(result, {"status": "done", "step": 120, "cost": {}})
            # By which the folder of a cell is known as ours.
            known = {"data": {"fingerprint": fingerprint()}}
            write_json(result.parents[1] / "provenance.json", known)
    finish(caching, inline, *ABLATE)
    caching.start(here, *ABLATE, "--launcher=slurm", "--launcher_options=time=30")
    processes = stop_at_first_checkpoint([run / arm for arm in DISTURBED])
    jobs = json.loads((run / "launcher" / "jobs.json").read_text())["cells"]
    for (arm, name), pid in zip(DISTURBED.items(), processes, strict=True):
        disturb(slurm, jobs[arm]["job"], pid, name)
    ended = caching.wait()
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("2 of 4 cells are already done\n2 cells  started by")
    assert re.findall(r"(\S+)  .*attempt 2 of 2", ended.out) == ["plain-8"]
    shown = slurm.command("scontrol", "show", "job", jobs["residual-8"]["job"])
    assert "Restarts=1" in shown
    assert numbers(run) == numbers(inline / "run")
    assert {f"{arm}/seed-0/metrics.jsonl" for arm in DISTURBED} <= set(numbers(run))
    shown = finish(caching, here, "status", "--workdir=run")
    assert "4 done, 0 running, 0 failed, 0 waiting" in shown


def test_left_alone_and_taken_up_again(slurm, caching, here):
    """Queued cells are waited for; cancelled ones are submitted again."""
    command = (*ABLATE, "--launcher=slurm", "--wait=false")
    slurm.command("scontrol", "update", "partitionname=test", "state=down")
    try:
        out = finish(caching, here, *command)
        (job,) = re.findall(r"'scancel (\d+)' cancels", out)
        shown = finish(caching, here, "status", "--workdir=run")
        assert "0 done, 0 running, 0 failed, 4 waiting" in shown
        assert f"job {job}_3" in shown
        slurm.command("scancel", f"{job}_0")
        out = finish(caching, here, *command)
        assert "3 cells of an earlier command still run" in out
        assert len(re.findall("started by slurm", out)) == 1
    finally:
        slurm.command("scancel", "--me")
        slurm.command("scontrol", "update", "partitionname=test", "state=up")


@pytest.mark.parametrize("num_tasks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_documented_batch_script(slurm, caching, variables, here, num_tasks):
    finish(caching, here, "train", *TRAIN, "--workdir=alone")
    run, log = here / "run", here / "log"
    options = (f"--output={log}", f"--ntasks-per-node={num_tasks}")
    script = "docs/cluster/train.sbatch"
    sent = subprocess.run(
        ("sbatch", "--parsable", *options, script, *TRAIN, f"--workdir={run}"),
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    job = sent.stdout.strip()
    (pid,) = stop_at_first_checkpoint([run])
    disturb(slurm, job, pid, "TERM")
    wait_for(lambda: slurm.states()[job] in ("COMPLETED", "FAILED"))
    said = log.read_text()
    assert slurm.states()[job] == "COMPLETED", said
    assert "Restarts=1" in slurm.command("scontrol", "show", "job", job)
    assert "resumes at step" in said
    assert numbers(run) == numbers(here / "alone")
