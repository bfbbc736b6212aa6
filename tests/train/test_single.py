"""Evaluation of a run that is on disk."""

import dataclasses

import numpy as np
import pytest

from cnnjax.train import loop
from cnnjax.train.outcome import in_words
from cnnjax.train.single import _evaluated, evaluate
from tests.train.tiny import fit, tiny_run


def test_precise_statistics_can_be_asked_for_afterwards(tmp_path, capsys):
    """The run was trained, and is checked, with the statistics of its config."""
    fit(tiny_run(), tmp_path)
    shown = []
    for statistics in ("", "precise"):
        code = evaluate(tmp_path, weights="final", statistics=statistics, data_dir="")
        assert code == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] != shown[1]


@pytest.mark.parametrize(
    ("trained", "weights", "asked", "words"),
    [
        ("precise", "final", "running", "raw weights, running statistics"),
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
    assert evaluate(tmp_path, weights="final", statistics="", data_dir="") == 0
    capsys.readouterr()
    assert evaluate(tmp_path, weights="ema", statistics="", data_dir="") == 1
    shown = capsys.readouterr().out
    assert "100.00" in shown
    assert "evaluated with averaged weights, averaged statistics\n" in shown
    assert "seed 0 failed: the loss on the train images is nan" in shown
