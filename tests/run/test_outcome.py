"""Which weights a run reports, and what it reports when it fails."""

import dataclasses
import math

import numpy as np
import pytest

from cnnjax.data.dataset import load_dataset
from cnnjax.data.request import Request
from cnnjax.data.split import Split
from cnnjax.devices import parallel
from cnnjax.errors import UserError
from cnnjax.records import read_json
from cnnjax.run import loop
from cnnjax.run.setup import set_up
from tests.run.tiny import fit, rows_of, tiny_config, tiny_run

# -- the best weights ------------------------------------------------------------------


def with_scripted_evaluations(monkeypatch, validation, test):
    """Evaluations return scripted errors; the weights they saw are recorded."""
    seen = {"train": [], "validation": [], "test": []}
    script = iter(validation)

    def evaluate(programs, params, model_state, splits, final=False):
        rows = {}
        for split in splits:
            seen[split].append(parallel.to_host(params))
            error = next(script, 100.0) if split == "validation" else test
            row = {"count": 9, "loss": 1.0, "error": error, "top5_error": 0.0}
            rows[split] = [row for _ in programs.seeds]
        return rows

    monkeypatch.setattr(loop.Programs, "evaluate", evaluate)
    return seen


def test_the_best_is_best_on_validation(monkeypatch, tmp_path):
    """Errors 50, 20, 20: the first of equals is kept; test is seen at the end only."""
    seen = with_scripted_evaluations(monkeypatch, [50.0, 20.0, 20.0], test=77.0)
    (result,) = fit(tiny_run(), tmp_path).results
    assert result["best"]["step"] == 6
    assert result["best"]["validation_error"] == 20.0
    assert result["best"]["test"]["error"] == 77.0
    assert len(seen["test"]) == 2  # the last weights, then the best
    kernel = [params["head"]["kernel"] for params in seen["test"]]
    of_epoch = [params["head"]["kernel"] for params in seen["validation"][:3]]
    np.testing.assert_array_equal(kernel[0], of_epoch[2])
    np.testing.assert_array_equal(kernel[1], of_epoch[1])


def test_no_best_where_nothing_chooses(tmp_path):
    assert loop.saved_example(tiny_run(eval__keep_best=False))["best"] is None
    (result,) = fit(tiny_run(data__num_validation=0), tmp_path).results
    assert result["best"] is None
    assert result["final"]["validation"] == {
        "count": 0,
        "loss": None,
        "error": None,
        "top5_error": None,
    }


def test_the_average_is_evaluated_where_asked_for(tmp_path):
    """Weights that hardly follow (decay near 1) stay as bad as they started."""
    run = tiny_run(
        train__steps=100,
        eval__every_epochs=0.0,
        train__ema_decay=0.9999,
        eval__weights="ema",
    )
    (result,) = fit(run, tmp_path).results
    assert rows_of(tmp_path)[-4]["error"] == 0  # of the raw weights, last epoch
    assert result["final"]["train"]["error"] > 10


# -- runs that fail --------------------------------------------------------------------


def test_a_diverging_run_names_the_step_and_the_last_good_checkpoint(tmp_path):
    rate = {"schedule__kind": "step", "schedule__boundaries": (4.0,)}
    run = tiny_run(**rate, schedule__factor=1e30, norm__kind="none")
    fitted = fit(run, tmp_path)
    (result,) = fitted.results
    assert result["status"] == "failed"
    assert result["final"] is result["best"] is None
    # The update of step 5 is the first at the huge rate: the loss of step 6 shows it.
    assert "non-finite at step 6" in result["reason"]
    assert result["reason"].endswith(str(tmp_path / "checkpoints" / "3"))
    assert (tmp_path / "checkpoints" / "3").is_dir()
    assert fitted.shown.ended == "1 of 1 seeds failed"
    rows = rows_of(tmp_path)
    assert [row["step"] for row in rows] == [3, 3]
    assert all(math.isfinite(row["loss"]) for row in rows)
    assert read_json(tmp_path / "seed-0" / "result.json") == result
    assert fit(run, tmp_path).results == [result]
    with pytest.raises(UserError, match=r"failed for all 1 seeds.*learning_rate"):
        loop.require_some_success(fitted.results)


def test_without_a_checkpoint_there_is_none_to_name(tmp_path):
    run = tiny_run(schedule__learning_rate=1e20, norm__kind="none")
    (result,) = fit(run, tmp_path).results
    assert result["status"] == "failed"
    assert result["reason"].endswith("checkpoint is none yet")


def with_an_unusable_average(monkeypatch, bad):
    """The running variance of the averages is broken; training does not see it."""
    initial_state = loop.saved_example

    def broken(run):
        tree = initial_state(run)
        tree["state"].ema["model_state"]["batch_stats"]["norm1"]["var"][bad] = np.nan
        return tree

    monkeypatch.setattr(loop, "saved_example", broken)


def test_a_last_evaluation_that_is_not_finite_is_a_failure(monkeypatch, tmp_path):
    """Though every loss of training is finite; the other seed is done."""
    with_an_unusable_average(monkeypatch, bad=0)
    run = tiny_run(train__ema_decay=0.3, eval__weights="ema", seeds__count=2)
    fitted = fit(run, tmp_path)
    broken, healthy = fitted.results
    assert (broken["status"], healthy["status"]) == ("failed", "done")
    assert broken["final"] is broken["best"] is None
    assert broken["reason"] == (
        "the loss on the train images is nan in the last evaluation (averaged weights, "
        "averaged statistics)"
    )
    assert all(
        math.isfinite(r["loss"]) for r in rows_of(tmp_path) if r["kind"] == "train"
    )
    assert fitted.shown.ended == "1 of 2 seeds failed"
    assert read_json(tmp_path / "seed-0" / "result.json") == broken
    # Nor were the broken weights ever the best so far.
    assert healthy["best"]["step"] > 0


@pytest.mark.parametrize("split", ["train", "validation", "test", "best"])
def test_every_split_counts(monkeypatch, tmp_path, split):
    """Also that of the best weights, which may be others than the last."""
    calls = []

    def evaluate(programs, params, model_state, splits, final=False):
        calls.append(splits)
        of_best = final and list(splits) == ["test"]
        rows = {}
        for name in splits:
            broken = final and (split == "best" if of_best else split == name)
            loss = math.inf if broken else 1.0
            row = {"count": 9, "loss": loss, "error": 50.0, "top5_error": 0.0}
            rows[name] = [row]
        return rows

    monkeypatch.setattr(loop.Programs, "evaluate", evaluate)
    (result,) = fit(tiny_run(), tmp_path).results
    assert result["status"] == "failed"
    where = "test images is inf for the best" if split == "best" else f"{split} images"
    assert where in result["reason"]


def test_broken_weights_are_never_the_best(monkeypatch, tmp_path):
    """They have 100% error, as many a net at its start: NaN is not better than that."""
    script = iter([math.nan, 1.0])

    def evaluate(programs, params, model_state, splits, final=False):
        loss = next(script, 1.0)
        row = {"count": 9, "loss": loss, "error": 100.0, "top5_error": 0.0}
        return {split: [row] for split in splits}

    monkeypatch.setattr(loop.Programs, "evaluate", evaluate)
    (result,) = fit(tiny_run(), tmp_path).results
    assert result["best"]["step"] == 6


def without_test_images(**changes):
    config = tiny_config(data__num_validation=0, **changes)
    dataset = load_dataset(Request(**config.data))
    none = Split(dataset.test.images[:0], dataset.test.labels[:0])
    return set_up(config, dataclasses.replace(dataset, test=none))


def test_empty_splits_are_no_failure(tmp_path):
    (result,) = fit(without_test_images(), tmp_path).results
    assert (result["status"], result["best"]) == ("done", None)
    empty = {"count": 0, "loss": None, "error": None, "top5_error": None}
    assert result["final"]["test"] == result["final"]["validation"] == empty


def test_a_probe_needs_images():
    with pytest.raises(UserError, match=r"'shift' looks at test images, and .* none"):
        without_test_images(eval__probes=("shift",))


def test_one_failed_seed_does_not_touch_the_others(monkeypatch, tmp_path):
    alone = fit(tiny_run(seeds__first=1), tmp_path / "alone").results[0]
    initial_state = loop.saved_example

    def with_a_broken_seed(run):
        tree = initial_state(run)
        tree["state"].params["head"]["bias"][0] = np.nan  # seed 0
        return tree

    monkeypatch.setattr(loop, "saved_example", with_a_broken_seed)
    broken, healthy = fit(tiny_run(seeds__count=2), tmp_path / "both").results
    assert broken["status"] == "failed"
    assert "non-finite at step 1;" in broken["reason"]
    assert healthy["status"] == "done"
    same = ("final", "best", "step", "seed")
    assert {k: healthy[k] for k in same} == {k: alone[k] for k in same}
    assert rows_of(tmp_path / "both", 1) == rows_of(tmp_path / "alone", 1)
    assert rows_of(tmp_path / "both", 0) == []


def test_precise_statistics_are_used_at_the_end_only(tmp_path):
    running, precise = (
        fit(tiny_run(eval__statistics=kind), tmp_path / kind).results[0]
        for kind in ("running", "precise")
    )
    assert running["final"]["train"]["loss"] != precise["final"]["train"]["loss"]
    rows = [rows_of(tmp_path / kind)[:4] for kind in ("running", "precise")]
    assert rows[0] == rows[1]
