"""Folders of runs that version 0.1.0 left: resumed, judged and loaded.

`tests/golden/earlier_runs.tar.xz` has, from before the folders of this project were
rearranged, a training that SIGTERM ended at step 244 of 1,562, and an ablation with one
arm done, one ended at step 2 of 8, and two that had not started.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

import cnnjax
from tests.run.test_interruption import finish

ARCHIVE = Path(__file__).parents[1] / "golden" / "earlier_runs.tar.xz"
TRAIN = (
    "--config=mlp_mnist",
    "--config.data.name=digits",
    "--config.data.num_validation=100",
    "--config.data.num_train=500",
    "--seeds=2",
    "--config.train.epochs=400",
    "--config.checkpoint.every_epochs=50",
    "--config.train.ema_decay=0.9",
    "--config.model.widths=(16,)",
    "--config.log.tensorboard=False",
    "--config.checkpoint.keep_last=1",
    "--config.eval.every_epochs=50",
    "--config.train.steps_per_dispatch=1",
)
ABLATE = (
    "--ablation=degradation",
    "--scale=smoke",
    "--seeds=2",
    "--set=data.num_train=128",
    "--set=data.num_test=64",
    "--set=model.widths=(4,)",
    "--set=train.epochs=4",
    "--set=train.steps_per_dispatch=1",
    "--set=log.tensorboard=False",
    "--set=checkpoint.every_epochs=2",
    "--set=eval.probes=()",
)


@pytest.fixture
def runs(here):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(here, filter="data")
    return here


def rows(folder):
    return (folder / "metrics.jsonl").read_text().splitlines()


def test_a_training_resumes(programs, runs):
    folder = runs / "run"
    before = [rows(folder / f"seed-{seed}") for seed in (0, 1)]
    saved = json.loads((folder / "progress.json").read_text())["step"]
    out = finish(programs, runs, "train", *TRAIN, f"--workdir={folder}")
    assert f"resumes at step {saved}" in out
    for seed, first in enumerate(before):
        result = json.loads((folder / f"seed-{seed}" / "result.json").read_text())
        assert (result["status"], result["step"]) == ("done", 1562)
        assert rows(folder / f"seed-{seed}")[: len(first)] == first
    net = cnnjax.load_run(folder, seed=1, weights="last")
    images = net.preprocess(np.zeros((1, 8, 8, 1), np.uint8))
    logits = net.network.apply(net.variables, images, train=False)
    assert np.isfinite(logits).all()


def test_an_ablation_is_reported(programs, runs):
    out = finish(programs, runs, "report", "--workdir=ablation")
    assert (runs / "ablation" / "report.html").is_file()
    assert "residual-14" in out


@pytest.mark.slow
def test_an_ablation_resumes(programs, runs):
    done = runs / "ablation" / "residual-14" / "seed-0" / "result.json"
    before = done.read_text()
    out = finish(programs, runs, "ablate", *ABLATE, "--workdir=ablation")
    assert "1 of 4 cells are already done" in out
    assert done.read_text() == before
    assert len(list((runs / "ablation").glob("*/seed-*/result.json"))) == 8
