"""Cells in processes of their own: started, retried, taken over, stopped.

The cells are those of `tests/ablation/cells.py`, which train nothing; real ones are in
`tests/test_interruption.py` and `tests/cluster/`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnnjax.ablation import launch, launchers, slurm
from cnnjax.ablation.jobs import read_jobs, refuse_other_jobs, write_jobs
from cnnjax.ablation.launchers import Local, Slurm
from cnnjax.errors import UserError
from cnnjax.process import identity
from cnnjax.records import write_json
from cnnjax.train.interrupt import StopRequest
from tests.ablation.cells import short_cell
from tests.train.tiny import tiny_run

ROOT = Path(__file__).parents[2]
# What a person starts, with cells that wait for a signal.
PROGRAM = """
import sys
from pathlib import Path
from cnnjax.ablation.launch import catching_signals
from tests.ablation.test_launch import launch_of
launched = launch_of(Path(sys.argv[1]), "patient-1", "patient-2")
with catching_signals(b"") as stop:
    launched.start()
    sys.exit(launched.follow(stop))
"""


@pytest.fixture(autouse=True)
def light(monkeypatch):
    """Cells that train nothing, which find the modules of the tests."""
    monkeypatch.setattr(launch, "run_cell", short_cell)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def launch_of(workdir, *arms, jobs=2):
    """A launch of the given arms, in local processes."""
    described = [{"name": arm, "steps": 9, "multiply_adds": 1} for arm in arms]
    write_json(workdir / "plan.json", {"arms": described, "seeds": [0]})
    for arm in arms:
        (workdir / arm).mkdir(exist_ok=True)
    launch.run_cell = short_cell  # also in a program without the fixture
    system = Local(workdir.absolute() / "launcher", jobs)
    run = tiny_run()
    plan = SimpleNamespace(workdir=workdir)
    return launch.Launch(plan, dict.fromkeys(arms, run), system)


def follow(launched, stop=None):
    launched.start()
    return launched.follow(stop or StopRequest())


def read(path):
    return json.loads(path.read_text())


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def status_of(workdir, arm):
    path = workdir / arm / "progress.json"
    return read(path)["status"] if path.is_file() else None


def test_each_cell_gets_two_attempts(tmp_path, capsys):
    ends = ("good", "killed-once", "killed", "crashed-once", "crashed", "stopped-once")
    launched, most = launch_of(tmp_path, *ends), 0
    submit = launched.system.submit

    def counted(function, cells, active):
        nonlocal most
        most = max(most, len(cells) + len(active))
        return submit(function, cells, active)

    launched.system.submit = counted
    assert follow(launched) == 0
    assert most == 2
    results = {arm: read(tmp_path / arm / "seed-0" / "result.json") for arm in ends}
    for arm in ("good", "killed-once", "crashed-once", "stopped-once"):
        assert results.pop(arm)["status"] == "done"
    killed, crashed = results["killed"], results["crashed"]
    assert (killed["status"], killed["crashed"]) == ("failed", True)
    assert killed["reason"] == (
        "its process was killed or ended by itself (2 attempts)"
    )
    assert crashed["reason"] == "ZeroDivisionError: by zero (2 attempts)"
    assert "the last words" in (tmp_path / "killed" / "crash.txt").read_text()
    out = capsys.readouterr().out
    for arm in ("killed-once", "killed", "crashed-once", "crashed"):
        assert len(re.findall(rf"^{arm}  .*attempt 2 of 2$", out, re.M)) == 1
    # Stopping is no failure.
    assert "stopped-once  was stopped and saved; it goes on" in out
    assert "(6/6 cells)" in out
    assert read_jobs(tmp_path)["cells"] == {}


def test_what_concerns_all_ends_all(tmp_path):
    launched = launch_of(tmp_path, "patient", "refused", "good")
    with pytest.raises(UserError, match="cell refused: disk full"):
        follow(launched)
    assert status_of(tmp_path, "patient") in ("stopped", "waiting")
    assert status_of(tmp_path, "good") is None


def test_ctrl_c_lets_local_cells_save(tmp_path):
    """As a terminal does it: every process of the group gets the signal."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    arms = ("patient-1", "patient-2")
    wait_until(lambda: all(status_of(tmp_path, arm) == "running" for arm in arms))
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGINT
    assert [status_of(tmp_path, arm) for arm in arms] == ["stopped", "stopped"]
    assert out.endswith("stopped; the same command goes on from here\n")


def test_cells_that_still_run_are_taken_over(tmp_path, capsys):
    first = launch_of(tmp_path, "patient", "good", jobs=1)
    first.start()
    wait_until(lambda: status_of(tmp_path, "patient") == "running")
    pid = read(tmp_path / "patient" / "progress.json")["pid"]
    second = launch_of(tmp_path, "patient", "good", jobs=1)
    second.attach()
    second.start()
    assert list(second.active) == ["patient"]  # and no room for the other
    assert second.queue == ["good"]
    assert "1 cells of an earlier start go on" in capsys.readouterr().out
    stop = StopRequest()
    stop.set(signal.SIGTERM)
    assert second.follow(stop) == 128 + signal.SIGTERM
    first.system.poll()  # it was the child of this one
    assert read(tmp_path / "patient" / "progress.json")["pid"] == pid
    assert status_of(tmp_path, "patient") == "stopped"


def test_cells_that_have_ended_are_not_taken_over(tmp_path):
    record = {"job": "1", "slot": 0, "attempt": 2} | identity() | {"born": 1}
    write_jobs(tmp_path, "local", {"good": record})
    launched = launch_of(tmp_path, "good")
    (tmp_path / "good" / "progress.json").write_text('{"status": "waiting"}')
    launched.attach()
    assert (launched.active, launched.queue) == ({}, ["good"])
    assert launched.attempts == {"good": 1}


def test_two_cells_never_share_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(launchers, "gpus", lambda: [3, 5])
    with pytest.raises(UserError, match="--jobs=3 is more than the 2 accelerators"):
        launch_of(tmp_path, "a", jobs=3)
    arms = ("good-1", "good-2", "good-3", "killed-once")
    launched = launch_of(tmp_path, *arms, jobs=0)
    submit = launched.system.submit

    def watched(function, cells, active):
        records = submit(function, cells, active)
        slots = [record["slot"] for record in (*active, *records)]
        assert sorted(slots) == sorted(set(slots))
        return records

    launched.system.submit = watched
    assert follow(launched) == 0
    seen = {read(tmp_path / arm / "progress.json")["device"] for arm in arms}
    assert seen == {"3", "5"}


@pytest.mark.parametrize(
    ("found", "visible", "numbers"),
    [
        ("cpu 8", "", []),
        ("gpu 2", "", [0, 1]),
        ("gpu 2", "4,6", [4, 6]),
        ("gpu 1", "GPU-4f2a", "by number"),
        ("tpu 4", "", "on a TPU"),
    ],
)
def test_gpus(monkeypatch, found, visible, numbers):
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    ended = SimpleNamespace(returncode=0, stdout=f"some warning\n{found}\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    if isinstance(numbers, list):
        assert launchers.gpus() == numbers
    else:
        with pytest.raises(UserError, match=numbers):
            launchers.gpus()


def test_devices_that_do_not_start_are_one_sentence(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(UserError, match="JAX cannot start the devices"):
        launchers.gpus()


def test_a_second_launcher_is_kept_out(tmp_path):
    folder, sentence = tmp_path / "launcher", "another launcher waits for the cells"
    with (
        launch.alone(folder),
        pytest.raises(UserError, match=sentence),
        launch.alone(folder),
    ):
        pass
    with launch.alone(folder):
        pass


def test_another_way_of_launching_waits_for_the_jobs_of_the_first(
    tmp_path, monkeypatch
):
    refuse_other_jobs(tmp_path, "inline")
    write_jobs(tmp_path, "local", {"a": {"job": "12"} | identity()})
    refuse_other_jobs(tmp_path, "local")
    with pytest.raises(UserError, match=r"still run by --launcher=local \(12\)"):
        refuse_other_jobs(tmp_path, "inline")
    write_jobs(tmp_path, "slurm", {"a": {"job": "3_0"}, "b": {"job": "3_1"}})
    states = {"3_0": "COMPLETED", "3_1": "PENDING"}
    monkeypatch.setattr(slurm, "job_states", lambda: states)
    with pytest.raises(UserError, match=r"1 cells .* --launcher=slurm \(3_1\)"):
        refuse_other_jobs(tmp_path, "local")
    states["3_1"] = "CANCELLED"
    refuse_other_jobs(tmp_path, "local")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("partition=gpu,time=90", {"partition": "gpu", "time": 90}),
        ("nodelist=a1,a2,gpus=2", {"nodelist": "a1,a2", "gpus_per_node": 2}),
        ("cpus=8,mem=16G", {"cpus_per_task": 8, "mem": "16G"}),
        ("time=1-12", {"time": 36 * 60}),
        ("time=1-0:30", {"time": 24 * 60 + 30}),
        ("time=2:00:00", {"time": 120}),
        ("time=1:30", {"time": 2}),
    ],
)
def test_options(text, options):
    assert slurm.parse_options(text) == options


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partitoin=gpu", "did you mean 'partition'"),
        ("partition", "gives partition no value"),
        ("gpus=some", "gpus=some; it takes a number"),
        ("cpus=0", "cpus=0; it takes a number"),
        ("time=soon", "time=soon; SLURM takes minutes"),
    ],
)
def test_wrong_options_are_one_sentence(text, said):
    with pytest.raises(UserError, match=said):
        slurm.parse_options(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"launcher": "slrum"}, "unknown launcher 'slrum': did you mean 'slurm'"),
        ({"launcher": "local", "launcher_options": "time=5"}, "are for --launcher"),
        ({"launcher": "inline", "wait": False}, "are for --launcher=slurm"),
    ],
)
def test_wrong_launchers_are_one_sentence(tmp_path, given, said):
    plan = SimpleNamespace(workdir=tmp_path)
    rest = {"jobs": 0, "launcher_options": "", "wait": True} | given
    with pytest.raises(UserError, match=said):
        launch.train_cells(plan, **rest)


def test_without_submitit_the_sentence_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match="CNNJAX_EXTRA=cluster"):
        Local(tmp_path, 0)


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """Keeps what is handed to an `sbatch` that numbers its jobs from 1."""
    folder = tmp_path / "bin"
    folder.mkdir()
    sbatch = (
        f'n=$(ls "{folder}"/*.sent 2>/dev/null | wc -l); n=$((n + 1))\n'
        f'cp "$1" "{folder}/$n.sent"; echo "Submitted batch job $n"\n'
    )
    for name, text in (("sbatch", sbatch), ("srun", "exit 1\n")):
        (folder / name).write_text("#!/bin/sh\n" + text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda: [path.read_text() for path in sorted(folder.glob("*.sent"))]


def test_what_slurm_is_asked_for(tmp_path, scripts):
    options = slurm.parse_options("partition=gpu,time=2:00:00,gpus=1,cpus=4,mem=8G")
    system = Slurm(tmp_path / "launcher", 6, options)
    cells = [(str(tmp_path), f"a{i}") for i in range(2100)]
    records = system.submit(short_cell, cells, [])
    assert [record["job"] for record in records[:2]] == ["1_0", "1_1"]
    assert records[-1]["job"] == "3_99"
    first, second, third = scripts()
    lines = first.splitlines()
    for asked in ("partition=gpu", "time=120", "gpus-per-node=1", "mem=8G", "requeue"):
        assert f"#SBATCH --{asked}" in lines
    assert "#SBATCH --signal=USR2@120" in lines
    assert "--cpus-per-task=4" in lines[-1]  # of srun
    # Three arrays, for SLURM's limit of 1,001; six cells at a time in all.
    arrays = [re.search(r"--array=(\S+)", text)[1] for text in (first, second, third)]
    assert arrays == ["0-999%2", "0-999%2", "0-99%2"]


def test_a_refusal_of_sbatch_is_one_sentence(tmp_path, scripts):
    refusing = tmp_path / "bin" / "sbatch"
    refusing.write_text("#!/bin/sh\necho 'error: invalid partition: x' >&2; exit 1\n")
    system = Slurm(tmp_path / "launcher", 0, {"partition": "x"})
    with pytest.raises(UserError, match=r"refuses the cells \(.*invalid partition: x"):
        system.submit(short_cell, [(str(tmp_path), "a")], [])
    assert scripts() == []


def test_no_slurm_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="finds no srun here"):
        Slurm(tmp_path / "launcher", 0, {})


def test_a_silent_slurm_is_not_an_empty_one(tmp_path, monkeypatch, scripts):
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "squeue").chmod(0o755)
    assert slurm.job_states() is None
    system = Slurm(tmp_path / "launcher", 0, {})
    (record,) = system.submit(short_cell, [(str(tmp_path), "a")], [])
    system._states = {record["job"]: "RUNNING"}
    assert not system.poll()
    assert system.is_active(record)
