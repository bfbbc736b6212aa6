"""Evaluation of a run that is on disk."""

import dataclasses

import numpy as np
import pytest

from cnnjax.run import loop
from cnnjax.run.outcome import in_words
from cnnjax.run.single import _evaluated, described, evaluate
from tests.run.tiny import fit, tiny_run


def test_precise_statistics_can_be_asked_for_afterwards(tmp_path, capsys):
    """The run was trained, and is checked, with the statistics of its config."""
    fit(tiny_run(), tmp_path)
    shown = []
    # 'final' is what 'last' was called.
    for weights, statistics in (("final", ""), ("last", "precise")):
        code = evaluate(tmp_path, weights=weights, statistics=statistics, data_dir="")
        assert code == 0
        shown.append(capsys.readouterr().out)
        first, shown[-1] = shown[-1].split("\n", 1)
        used = statistics or "running"
        assert first == f"{tmp_path}: last weights, of step 9 of 9; {used} statistics"
    assert shown[0] != shown[1]


@pytest.mark.parametrize(
    ("trained", "weights", "asked", "words"),
    [
        ("precise", "last", "running", "raw weights, running statistics"),
        ("precise", "ema", "running", "averaged weights, averaged statistics"),
        ("running", "ema", "precise", "averaged weights, precise statistics"),
        ("running", "best", "running", "averaged weights, averaged statistics"),
        # Those that they were judged with are kept with them.
        ("precise", "best", "running", "averaged weights, precise statistics"),
        ("precise", "best", "batch", "averaged weights, batch statistics"),
    ],
)
def test_it_knows_what_was_evaluated(trained, weights, asked, words):
    run = tiny_run(train__ema_decay=0.3, eval__weights="ema", eval__statistics=trained)
    settings = dataclasses.replace(run.eval, statistics=asked)
    now = dataclasses.replace(run, eval=settings)
    assert in_words(_evaluated(now, run.eval, weights)) == words


def test_what_is_not_finite_is_a_failure(tmp_path, monkeypatch, capsys):
    """The figures are shown all the same, with a sentence, and the exit code is 1."""
    saved_example = loop.saved_example

    def broken(run):
        tree = saved_example(run)
        tree["state"].ema["model_state"]["batch_stats"]["norm1"]["var"][:] = np.nan
        return tree

    monkeypatch.setattr(loop, "saved_example", broken)
    fit(tiny_run(train__ema_decay=0.3), tmp_path)
    monkeypatch.undo()
    assert evaluate(tmp_path, weights="last", statistics="", data_dir="") == 0
    capsys.readouterr()
    assert evaluate(tmp_path, weights="ema", statistics="", data_dir="") == 1
    shown = capsys.readouterr().out
    assert "100.00" in shown
    assert "averaged weights (ema), of step" in shown
    assert "; averaged statistics" in shown
    assert "seed 0 failed: the loss on the train images is nan" in shown


def test_an_evaluation_says_what_it_is_of():
    """Weights, their step and statistics, and that training is not finished."""
    run = tiny_run(train__ema_decay=0.5, seeds__count=3, train__steps=1200)
    loop = {"best_step": [80, 120, 80], "failed_at": [-1, -1, -1]}
    raw = {"weights": "raw", "statistics": "running"}
    ema = {"weights": "ema", "statistics": "averaged"}
    of = "step 120 of 1,200"
    assert described(run, "last", raw, 120, loop) == (
        f"last weights, of {of}; running statistics; training is not finished"
    )
    assert described(run, "ema", ema, 120, loop) == (
        f"averaged weights (ema), of {of}; averaged statistics; training is not "
        "finished"
    )
    assert described(run, "best", ema, 120, loop) == (
        "averaged weights best on validation, of step 80, 120; averaged statistics; "
        f"training is not finished ({of})"
    )
    without = {"weights": "raw", "statistics": None}
    assert described(run, "last", without, 1200, loop) == (
        "last weights, of step 1,200 of 1,200"
    )
    loop = {"best_step": [0, 0, 0], "failed_at": [-1, 7, -1]}
    assert "no validation so far" in described(run, "best", raw, 120, loop)
    assert described(run, "last", raw, 120, loop).endswith("failed: seeds 1")
