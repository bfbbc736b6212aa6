"""A run resumes whichever way its blocks were executed before."""

import functools

import jax
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped
from cnnjax.records import read_json
from cnnjax.run import single
from cnnjax.run.checkpoints.manager import Checkpoints
from cnnjax.run.checkpoints.restore import restore_latest
from cnnjax.run.folder import RunFolder
from cnnjax.run.setup import saved_example
from tests.run.tiny import fit, rows_of, tiny_run

# Three blocks in one stage, with momentum, moving average and best weights.
NET = {"depth": 8, "widths": (4,)}
FORMS = {
    "written out": {"scan_blocks": False},
    "scanned": {"scan_blocks": True},
    "scanned again": {"scan_blocks": True, "remat": "stage"},
}


def run_as(form, **changes):
    changes = {"seeds__count": 2, "train__ema_decay": 0.9} | changes
    return tiny_run("resnet20_cifar", NET | FORMS[form], **changes)


def state_of(path, run):
    accept = RunFolder(path, run, "tiny").check_metadata
    with Checkpoints(path / "checkpoints", keep_last=None) as checkpoints:
        return restore_latest(checkpoints, run, saved_example(run), accept)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Each form trained to its end without a stop."""
    paths = {}
    for form in ("written out", "scanned"):
        paths[form] = tmp_path_factory.mktemp("whole")
        fit(run_as(form), paths[form])
    return paths


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("written out", "scanned"),
        pytest.param("scanned", "written out", marks=pytest.mark.slow),
    ],
)
def test_a_run_goes_on_in_the_other_form(uninterrupted, tmp_path, before, after):
    with pytest.raises(Stopped):
        fit(run_as(before), tmp_path, stop_at=3)
    done = fit(run_as(after), tmp_path)
    assert done.shown.first_step == 3
    run = run_as(after)
    step, got, _ = state_of(tmp_path, run)
    _, expected, _ = state_of(uninterrupted[after], run)
    assert step == 9
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    # Nine steps of float32, three of them in another order of rounding.
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    jax.tree.map(close, got, expected)
    losses, wanted = (
        [row["loss"] for row in rows_of(path)]
        for path in (tmp_path, uninterrupted[after])
    )
    np.testing.assert_allclose(losses, wanted, rtol=1e-4)
    results = [
        read_json(path / "seed-1" / "result.json")
        for path in (tmp_path, uninterrupted[before])
    ]
    assert results[0]["config_hash"] == results[1]["config_hash"]


def test_checkpoints_hold_a_leaf_per_block(uninterrupted):
    for form, path in uninterrupted.items():
        _, tree, _ = state_of(path, run_as(form))
        record = path / "checkpoints" / "9" / "record" / "metadata"
        leaves = read_json(record)["leaves"]
        assert "state.params.stage1_block3.conv1.kernel" in leaves
        assert not any("stage1_blocks" in name for name in leaves)
        stacked = "stage1_blocks" in tree["state"].params
        assert stacked == (form == "scanned")


def test_any_form_reads_what_another_has_written(uninterrupted):
    """To the last bit: reading computes nothing."""
    path = uninterrupted["scanned"]
    _, first, _ = state_of(path, run_as("scanned"))
    _, again, _ = state_of(path, run_as("scanned again"))
    jax.tree.map(np.testing.assert_array_equal, first, again)


def test_a_finished_run_is_evaluated_in_the_other_form(uninterrupted, monkeypatch):
    shown = {}
    other = run_as("written out").config
    monkeypatch.setattr(single, "stored_config", lambda path: other)
    monkeypatch.setattr(single, "print_errors", lambda rows, note: shown.update(rows))
    path = uninterrupted["scanned"]
    single.evaluate(path, weights="final", statistics="", data_dir="")
    for seed in (0, 1):
        final = read_json(path / f"seed-{seed}" / "result.json")["final"]["test"]
        assert shown[seed]["test"]["error"] == final["error"]
        assert shown[seed]["test"]["loss"] == pytest.approx(final["loss"], rel=1e-5)


def test_another_experiment_is_still_refused(uninterrupted):
    run = run_as("scanned", loss__label_smoothing=0.1)
    with pytest.raises(UserError, match=r"another config.*label_smoothing") as caught:
        fit(run, uninterrupted["written out"])
    assert "scan_blocks" not in str(caught.value)
