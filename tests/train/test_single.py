"""Evaluation of a run that is on disk."""

from cnnjax.train.single import evaluate
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
