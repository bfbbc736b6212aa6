"""The learning-rate range test: curves with a known end, and one of a real net."""

import csv
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped, StopRequest
from cnnjax.studies import range_test
from cnnjax.studies.programs import find_rate
from cnnjax.studies.range_figure import words
from cnnjax.studies.range_test import Curve, run_range_test, smooth, suggest
from tests.run.tiny import tiny_config

RATES = np.geomspace(1e-4, 10, 101)


def curve_of(losses):
    losses = range_test._until_diverged(np.atleast_2d(np.asarray(losses, float)))
    return Curve(RATES, losses, smooth(losses))


def valley(at, rates=RATES):
    return 1 + np.log10(rates / at) ** 2


def test_a_tenth_of_the_lowest():
    found = suggest(curve_of([valley(0.1), 2 * valley(0.1)]))
    assert found.lowest == pytest.approx(0.1, rel=0.05)
    assert found.rate == pytest.approx(0.01, rel=0.05)
    assert found.note == ""
    assert "0.01 (a tenth of the rate at which the smoothed loss" in words(found)


def test_smoothing_does_not_move_the_curve():
    """An average over the steps before it would, by its length."""
    noise = np.random.RandomState(0).normal(0, 0.1, (20, 101))
    lowest = suggest(curve_of(valley(0.1) + noise)).lowest
    assert abs(np.log10(lowest / 0.1)) < 0.1
    np.testing.assert_allclose(smooth(np.ones((2, 50))), 1)


def test_smoothing_is_a_gaussian_average_and_takes_little_memory():
    losses = np.random.RandomState(0).exponential(1, (3, 150))
    losses[1, 100:] = np.nan
    at = np.arange(150)
    weights = np.exp(-0.5 * ((at - at[:, None]) / (range_test.WINDOW * 150)) ** 2)
    known = np.isfinite(losses)
    expected = (np.where(known, losses, 0) @ weights) / (known @ weights)
    expected[1, 100:] = np.nan
    np.testing.assert_allclose(smooth(losses), expected, rtol=1e-12)
    long = np.ones((1, 20_000))
    tracemalloc.start()
    smooth(long)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * long.nbytes


def test_nothing_after_the_first_seed_has_diverged():
    early, late = valley(1.0), valley(1.0)
    early[60:] = [np.nan, *[0.0] * 40]
    curve = curve_of([early, late])
    assert np.isnan(curve.losses[0, 60:]).all()
    assert suggest(curve).lowest <= RATES[59]
    late[50:] = 100.0  # finite
    assert np.isnan(curve_of(late).losses[0, 55:]).all()


def test_small_losses_that_rise_have_not_diverged():
    losses = np.where(RATES < 0.1, 1e-3, 0.1)
    losses[0] = 3.0
    assert np.isfinite(curve_of(losses).losses).all()


def test_a_rate_below_all_that_were_tested_says_so():
    """Whether the loss has its minimum within the range, or the net diverges early."""
    found = suggest(curve_of(valley(3e-4)))
    assert found.rate < RATES[0]
    assert "below all rates that were tested (0.0001 and above): lower" in words(found)
    assert "below all rates" not in words(suggest(curve_of(valley(3e-3))))


def test_flat_until_a_seed_diverges_is_no_reason_to_raise_the_rate():
    losses = np.full((2, 101), 2.3)
    losses[1, 60:] = np.nan
    found = suggest(curve_of(losses))
    assert found.rate is None
    assert f"before a seed diverges at {RATES[59]:.2g}: lower --lowest" in found.note
    assert "raise --highest" not in found.note


@pytest.mark.parametrize(
    ("losses", "note"),
    [
        (np.full(101, 2.3), "hardly falls: raise --highest"),
        (np.full(101, np.nan), "diverges at once: lower --lowest"),
        (1 + 1e-4 / RATES, None),
        (2 - np.arange(101) / 101, "still falls at the highest rate"),
    ],
)
def test_curves_that_show_little(losses, note):
    found = suggest(curve_of(losses))
    if note:
        assert note in words(found)
    assert (found.rate is None) == (note is not None and "still" not in note)


@pytest.mark.parametrize(
    ("lowest", "highest", "steps", "words"),
    [
        (0.0, 1.0, 50, "--lowest above 0"),
        (1.0, 0.1, 50, "rise from 1 to 0.1"),
        (0.1, float("inf"), 50, "rise from 0.1 to inf"),
        (0.1, 1.0, 5, "--steps is 5: give at least 20"),
    ],
)
def test_settings_that_make_no_sense(lowest, highest, steps, words):
    with pytest.raises(UserError, match=words):
        run_range_test(tiny_config(), lowest, highest, steps, StopRequest())


def test_a_signal_ends_it():
    stop = StopRequest()
    stop.set(15)
    with pytest.raises(Stopped):
        run_range_test(tiny_config(), 0.1, 1.0, 20, stop)


def test_wrong_rates_leave_no_folder(tmp_path):
    with pytest.raises(UserError, match="--lowest above 0"):
        find_rate(
            tiny_config(),
            tmp_path / "x",
            "tiny",
            lowest=float("nan"),
            highest=1.0,
            steps=20,
        )
    assert not (tmp_path / "x").exists()


def test_a_real_net(tmp_path):
    """The rates are those of the steps, and the losses those of all seeds."""
    config = tiny_config(seeds__count=2, train__steps_per_dispatch=7)
    assert find_rate(config, tmp_path, "tiny", lowest=1e-3, highest=1, steps=30) == 0
    with (tmp_path / "range_test.csv").open() as file:
        rows = list(csv.DictReader(file))
    rates = [float(row["learning_rate"]) for row in rows]
    np.testing.assert_allclose(rates, np.geomspace(1e-3, 1, 30), rtol=1e-4)
    losses = [[float(row[f"loss of seed {s}"]) for row in rows] for s in (0, 1)]
    assert np.ptp(losses, axis=0).min() > 0
    again = run_range_test(config, 1e-3, 1.0, 30, StopRequest())
    np.testing.assert_allclose(again.losses, losses, rtol=1e-4)
    with Image.open(tmp_path / "range_test.png") as figure:
        assert figure.width > 400
    # What was asked for decides whether it may be replaced.
    kept = (tmp_path / "range_test.csv").read_bytes()
    with pytest.raises(UserError, match="for 'highest' 1, not 2: give a new folder by"):
        find_rate(config, tmp_path, "tiny", lowest=1e-3, highest=2, steps=30)
    assert (tmp_path / "range_test.csv").read_bytes() == kept
