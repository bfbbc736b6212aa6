"""One training here and in torch, with the same random choices, step by step."""

import dataclasses
import os

import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.run.setup import set_up
from tests.slow import slow

pytest.importorskip("torch", reason="compares with torch: extra `peers`")
from benchmarks.agreement import compare
from benchmarks.agreement.choices import Choices, augmented, followed, record

REAL = os.environ.get("CNNJAX_DATA_DIR", "")
DIGITS = {"name": "digits", "num_train": 300, "num_validation": 100}
SMALL = compare.Task(DIGITS, depth=6, widths=(4, 8), epochs=3.0, batch_size=32, pad=1)


def test_the_losses_of_the_first_steps_are_equal_in_float64():
    """Rounding is 1e-16; a wrong factor anywhere is 1e-8 at the least."""
    ours, theirs = compare.in_float64(SMALL, seed=0, num_steps=10)
    assert np.ptp(ours) > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-13)


def test_a_training_may_be_shorter_than_what_is_compared():
    short = dataclasses.replace(SMALL, epochs=0.3)
    ours, theirs = compare.in_float64(short, seed=0, num_steps=10)
    assert len(ours) == len(theirs) == 3


def test_the_file_says_what_the_augmentation_does(tmp_path):
    run = set_up(SMALL.config(seed=3))
    record(run).save(tmp_path / "choices.npz")
    choices, images = Choices.load(tmp_path / "choices.npz"), run.dataset.train.images
    assert 0.3 < choices.mirrored.mean() < 0.7
    assert set(np.unique(choices.shifts)) == {-1, 0, 1}
    for step in (0, 5, run.total_steps - 1):
        seen, _ = augmented(run, 3, step, images[choices.order[step]])
        np.testing.assert_array_equal(seen, followed(choices, step, images))


def test_what_the_file_cannot_say_is_refused():
    config = SMALL.config(seed=0)
    config.augment.cutout = 4
    with pytest.raises(UserError, match="leave the others off"):
        record(set_up(config))


@slow
def test_the_programs_of_a_run_agree_with_torch(tmp_path):
    """In float32, all of it: order, images, steps, schedule and evaluation."""
    stored = compare.compare(SMALL, 2, tmp_path)
    assert compare.within_spread(stored)
    for seed in stored["seeds"]:
        assert max(seed["first_steps"]) < 1e-5
    assert "2 seeds" in compare.summary(stored)


@slow
@pytest.mark.skipif(not REAL, reason="CNNJAX_DATA_DIR names no folder of prepared sets")
def test_real_photographs_agree_within_the_spread_of_seeds(tmp_path):
    data = {"name": "cifar10", "data_dir": REAL, "num_train": 2000}
    task = compare.Task(data | {"num_validation": 100, "num_test": 1000}, epochs=4.0)
    assert compare.within_spread(compare.compare(task, 3, tmp_path))
