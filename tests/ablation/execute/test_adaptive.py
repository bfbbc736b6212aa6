"""How many seeds are trained, with runs that take no time."""

import dataclasses
import functools

import pytest

from cnnjax.ablation.define import Scale, higher
from cnnjax.ablation.execute import adaptive
from cnnjax.ablation.execute.adaptive import Budget, train_seeds
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.judge.verdicts import judge
from cnnjax.ablation.plan import make_plan, write_plan
from cnnjax.errors import UserError
from tests.ablation.small_degradation import get_ablation
from tests.ablation.synthetic_sweep import write_cells

FACTS = {"num_params": 850, "multiply_adds": 61_000, "epochs": 20, "steps": 440}
# Made-up errors differ by arm: see `synthetic_sweep.TRAIN_ERROR`.
CLEAR = higher("train_error", "plain-32", than="plain-8", source="nobody", name="clear")
OPEN = higher(
    "test_error", "plain-20", than="plain-8", margin=2.3, source="nobody", name="open"
)


def rounds(tmp_path, *claims, seeds="auto", most=20, minutes=0.0):
    """Trains; returns the exit code, the seeds of each arm, and the output."""
    scale = Scale(recipe="resnet_digits", seeds=4, grids=[{"depth": [8, 20, 32]}])
    ablation = dataclasses.replace(
        get_ablation(), scales={"toy": scale}, claims=claims, published=()
    )
    make = functools.partial(
        make_plan,
        ablation,
        "toy",
        data_dir="",
        workdir=str(tmp_path),
        changes={},
    )

    def train(plan):
        write_plan(plan, {cell.name: FACTS for cell in plan.cells})
        write_cells(plan.workdir)
        return 0

    said = []
    code, plan = train_seeds(make, train, seeds, Budget(most, minutes), said.append)
    counts = {arm.name: 0 for arm in plan.arms}
    for cell in plan.cells:
        counts[cell.arm.name] += len(cell.seeds)
    return code, counts, said


def test_a_clear_claim_ends_it(tmp_path):
    code, counts, said = rounds(tmp_path, CLEAR)
    assert code == 0
    assert said[0].startswith("seeds for 80% power: no earlier runs say")
    assert said[1] == "  clear: at least 5; at most 20"
    assert said[-1] == "all 1 claims are decided"
    # More than one round, because four seeds can never decide.
    assert counts["plain-8"] == counts["plain-32"] == 8
    assert counts["residual-32"] == 4
    assert collect(tmp_path).sequential


@pytest.fixture
def never_futile(monkeypatch):
    monkeypatch.setattr(adaptive, "chance_to_decide", lambda *_: 1.0)


def test_only_arms_of_open_claims_get_more_seeds(tmp_path, never_futile):
    _, counts, said = rounds(tmp_path, CLEAR, OPEN, most=12)
    assert counts == {
        "plain-8": 12,
        "plain-20": 12,
        "plain-32": 8,
        "residual-8": 4,
        "residual-20": 4,
        "residual-32": 4,
    }
    assert said[-1] == "1 claims stay undecided at --max_seeds=12"


def test_no_time_is_left(tmp_path, monkeypatch, never_futile):
    monkeypatch.setattr(adaptive, "_estimate", lambda *_: 61.0)
    _, counts, said = rounds(tmp_path, OPEN, minutes=1.0)
    assert set(counts.values()) == {4}
    assert "more than is left of --budget_minutes" in said[-1]


def test_it_goes_on_where_it_was_ended(tmp_path, never_futile):
    rounds(tmp_path, OPEN, most=8)
    _, counts, _ = rounds(tmp_path, OPEN, most=12)
    assert counts["plain-8"] == 12
    assert {v.contrast.n for v in judge(collect(tmp_path))} == {12}


def test_nothing_is_added_while_runs_are_still_to_come(tmp_path, monkeypatch):
    """As with --wait=false, where the cells are only submitted to a cluster."""
    monkeypatch.setitem(globals(), "write_cells", lambda workdir: None)
    _, counts, said = rounds(tmp_path, OPEN)
    assert set(counts.values()) == {4}
    assert said[2:] == ["some runs have not ended; run the same command when they have"]


def test_a_number_that_was_set_beforehand(tmp_path):
    _, counts, said = rounds(tmp_path, OPEN, seeds="6")
    assert set(counts.values()) == {6}
    assert said[1:] == ["  open: at least 2; planned 6"]
    assert not collect(tmp_path).sequential


def test_seeds_added_by_hand_count_as_looked_at(tmp_path):
    rounds(tmp_path, OPEN, seeds="6")
    before = judge(collect(tmp_path))[0].contrast
    rounds(tmp_path, OPEN, seeds="7")
    after = judge(collect(tmp_path))[0].contrast
    assert collect(tmp_path).sequential
    assert (before.n, after.n) == (6, 7)


def test_seeds_that_cannot_help_are_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(adaptive, "chance_to_decide", lambda *_: 0.09)
    code, counts, said = rounds(tmp_path, OPEN)
    assert (code, set(counts.values())) == (0, {4})
    assert said[-1] == (
        "1 claims stay undecided, and more seeds are futile: up to --max_seeds=20 they "
        "decide with a chance below 10% (open)"
    )


def test_what_a_chance_is_asked_of(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        adaptive, "chance_to_decide", lambda *given: asked.append(given) or 1.0
    )
    rounds(tmp_path, OPEN, dataclasses.replace(OPEN, name="2", margin=2.0), most=8)
    numbers, matters, most, alpha, test = asked[0]
    assert len(numbers) == 4
    assert (matters, most, alpha, test) == (None, 8, 0.05 / 2, "t")


@pytest.mark.parametrize("seeds", ["0", "-1", "many", "1.5"])
def test_what_is_no_number_of_seeds(tmp_path, seeds):
    with pytest.raises(UserError, match=f"--seeds={seeds}: give a positive integer"):
        rounds(tmp_path, OPEN, seeds=seeds)


def test_a_budget_that_is_none():
    with pytest.raises(UserError, match="give at least 2 seeds"):
        Budget(1, 0.0)
