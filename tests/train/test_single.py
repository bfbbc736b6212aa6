"""Evaluation of a run that is on disk."""

from cnnjax.train.single import described, evaluate
from tests.train.tiny import fit, tiny_run


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


def test_an_evaluation_says_what_it_is_of():
    """Weights, their step and statistics, and that training is not finished."""
    run = tiny_run(train__ema_decay=0.5, seeds__count=3, train__steps=1200)
    loop = {"best_step": [80, 120, 80], "failed_at": [-1, -1, -1]}
    of = "step 120 of 1,200"
    assert described(run, "last", 120, loop) == (
        f"last weights, of {of}; training is not finished"
    )
    assert described(run, "ema", 120, loop) == (
        f"averaged weights (ema), of {of}; training is not finished"
    )
    assert described(run, "best", 120, loop) == (
        f"weights best on validation, of step 80, 120; training is not finished ({of})"
    )
    assert described(run, "last", 1200, loop) == (
        "last weights, of step 1,200 of 1,200"
    )
    loop = {"best_step": [0, 0, 0], "failed_at": [-1, 7, -1]}
    assert "no validation so far" in described(run, "best", 120, loop)
    assert described(run, "last", 120, loop).endswith("failed: seeds 1")
