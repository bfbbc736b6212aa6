"""Learning rates against the papers' numbers and torch's schedulers."""

import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.training.schedule import make_schedule

STEPS = 40
DEFAULTS = {
    "kind": "constant",
    "learning_rate": 0.1,
    "unit": "steps",
    "boundaries": (),
    "factor": 0.1,
    "final_learning_rate": 0.0,
    "warmup": 0.0,
    "warmup_kind": "linear",
    "warmup_learning_rate": 0.0,
    "total_steps": STEPS,
    "steps_per_epoch": 10.0,
}


def schedule_of(**arguments):
    return make_schedule(**(DEFAULTS | arguments))


def rates(num_steps=STEPS, **arguments):
    """Rates of the first steps."""
    return schedule_of(**arguments)(np.arange(num_steps))


def torch_rates(make_scheduler, num_steps=STEPS):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = make_scheduler(torch.optim.lr_scheduler, optimizer)
    values = []
    for _ in range(num_steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(values)


HE = {"kind": "step", "boundaries": (32_000.0, 48_000.0), "total_steps": 64_000}


def test_the_recipe_of_he_et_al():
    """0.1, divided by 10 at 32k and 48k iterations: 32,000 steps at the first rate."""
    schedule = schedule_of(**HE)
    steps = np.array([0, 1, 31_999, 32_000, 47_999, 48_000, 63_999])
    expected = [0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    np.testing.assert_allclose(schedule(steps), expected, rtol=1e-6)


def test_the_warm_up_of_resnet_110():
    """0.01 for 400 iterations, then 0.1; the boundaries stay where they were."""
    schedule = schedule_of(
        **HE, warmup=400.0, warmup_kind="constant", warmup_learning_rate=0.01
    )
    steps = np.array([0, 399, 400, 31_999, 32_000, 48_000])
    expected = [0.01, 0.01, 0.1, 0.1, 0.01, 0.001]
    np.testing.assert_allclose(schedule(steps), expected, rtol=1e-6)


def test_steps_as_torch():
    theirs = torch_rates(lambda lr, o: lr.MultiStepLR(o, [12, 30], gamma=0.2))
    ours = rates(kind="step", boundaries=(12.0, 30.0), factor=0.2)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_cosine_as_torch():
    theirs = torch_rates(lambda lr, o: lr.CosineAnnealingLR(o, STEPS, eta_min=0.003))
    ours = rates(kind="cosine", final_learning_rate=0.003)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_linear_as_torch():
    theirs = torch_rates(
        lambda lr, o: lr.LinearLR(o, 1.0, end_factor=0.05, total_iters=STEPS)
    )
    ours = rates(kind="linear", final_learning_rate=0.005)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_warm_up_then_cosine_as_torch():
    def both(lr, optimizer):
        warm = lr.LinearLR(optimizer, start_factor=0.2, total_iters=8)
        cosine = lr.CosineAnnealingLR(optimizer, STEPS - 8)
        return lr.SequentialLR(optimizer, [warm, cosine], milestones=[8])

    theirs = torch_rates(both)
    ours = rates(kind="cosine", warmup=8.0, warmup_learning_rate=0.02)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_a_decay_ends_where_it_should():
    for kind in ("cosine", "linear"):
        ours = rates(STEPS + 1, kind=kind, final_learning_rate=0.003, warmup=5.0)
        assert ours[5] == pytest.approx(0.1)
        assert ours[STEPS] == pytest.approx(0.003)


@pytest.mark.parametrize(
    ("unit", "boundaries"), [("epochs", (1.2, 3.0)), ("fraction", (0.3, 0.75))]
)
def test_units_are_steps_in_disguise(unit, boundaries):
    wanted = rates(kind="step", boundaries=(12.0, 30.0), warmup=0.0)
    np.testing.assert_array_equal(
        rates(kind="step", unit=unit, boundaries=boundaries), wanted
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "cosin"}, "did you mean 'cosine'"),
        ({"unit": "epoch"}, "did you mean 'epochs'"),
        ({"warmup_kind": "lin"}, "config.schedule.warmup_kind"),
        ({"boundaries": (30.0, 12.0)}, "must increase"),
        ({"warmup": 40.0}, "is 40 steps of a run of 40"),
    ],
)
def test_wrong_schedules_are_one_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        schedule_of(**changes)


def test_steps_one_by_one_and_together_give_the_same():
    """The row of a log asks for one step, a dispatch for many."""
    for kind in ("constant", "step", "cosine", "linear"):
        schedule = schedule_of(kind=kind, boundaries=(12.0, 30.0), warmup=5.0)
        singles = [float(schedule(step)) for step in range(STEPS)]
        np.testing.assert_allclose(schedule(np.arange(STEPS)), singles, rtol=1e-14)


def test_cycles_fall_from_the_peak_each_time():
    """Eq. 2 of Huang et al. 2017, with the warm-up in the first cycle."""
    cyclic = rates(STEPS + 1, kind="cosine", cycles=4, warmup=2.0)
    plain = rates(10, kind="cosine", total_steps=10)
    for start in (10, 20, 30):
        np.testing.assert_allclose(cyclic[start : start + 10], plain)
    np.testing.assert_allclose(cyclic[:4], [0.0, 0.05, 0.1, cyclic[3]])
    assert cyclic[9] < 0.1 * cyclic[10]
    assert cyclic[STEPS] == pytest.approx(0)
    with pytest.raises(UserError, match="must be shorter than the cycle"):
        schedule_of(kind="cosine", cycles=4, warmup=10.0)
