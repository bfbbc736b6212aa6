"""What the launchers request from the machine and SLURM, and what they refuse."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from cnnjax.ablation.execute import launchers, slurm
from cnnjax.ablation.execute.launchers import Slurm
from cnnjax.errors import UserError
from tests.ablation.cells import short_cell


@pytest.mark.parametrize(
    ("found", "visible", "numbers"),
    [
        ("cpu 8", "", []),
        ("gpu 2", "", [0, 1]),
        ("gpu 2", "4,6", [4, 6]),
        ("gpu 1", "GPU-4f2a", "by number"),
        ("tpu 4", "", "not a TPU"),
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


def test_a_probe_that_was_killed_has_nothing_to_say(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS")
    ended = SimpleNamespace(returncode=-9, stdout="", stderr=" \n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(UserError, match=r"cannot start .*\(no reason given\)"):
        launchers.gpus()


def test_devices_that_do_not_start_are_one_sentence(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(UserError, match="JAX cannot start the devices"):
        launchers.gpus()


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
        ("partition", "has no value for partition"),
        ("gpus=some", "gpus=some: give a number"),
        ("cpus=0", "cpus=0: give a number"),
        ("time=soon", "time=soon: SLURM takes minutes"),
    ],
)
def test_wrong_options_are_one_sentence(text, said):
    with pytest.raises(UserError, match=said):
        slurm.parse_options(text)


def test_without_submitit_the_sentence_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match="CNNJAX_EXTRA=cluster"):
        Slurm(tmp_path, 0, {})


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """Records the calls of an `sbatch` that numbers its jobs from 1."""
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
