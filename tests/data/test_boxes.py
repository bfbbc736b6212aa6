"""Boxes against torchvision at the same draws, and in NumPy as in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data.cutting import boxes
from cnnjax.data.cutting.boxes import TRIES
from tests.peers import torch

AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
transforms = pytest.importorskip("torchvision.transforms", exc_type=ImportError)


def draws_of(seed):
    """What torch's generator gives next: sizes of ten tries, and the place."""
    torch.manual_seed(seed)
    return np.array([float(torch.rand(1)) for _ in range(2 * TRIES)]).reshape(TRIES, 2)


def their_box(operation, height, width, area, aspect, seed):
    torch.manual_seed(seed)
    image = torch.empty((1, 1, 1)).expand(3, height, width)
    arguments = (image, list(area), list(aspect))
    if operation is transforms.RandomErasing:
        arguments += ([0.0],)
    return operation.get_params(*arguments)[:4]


@pytest.mark.parametrize(
    ("height", "width", "area"),
    [
        (375, 500, AREA),
        (32, 32, AREA),
        (300, 300, (0.9, 1.0)),  # the first draws are often refused
        (40, 400, AREA),  # too wide: most fall back
        (400, 40, (0.5, 1.0)),  # too tall: all fall back
        (400, 500, (1.5, 2.0)),  # nothing fits: the whole image
        (1, 7, AREA),
    ],
)
def test_random_resized_crop(height, width, area):
    """The size is torchvision's at the same draws; so is the fall-back's place."""
    seeds, center = range(60), np.full(2, 0.5)
    for seed in seeds:
        sizes = draws_of(seed)
        want = their_box(
            transforms.RandomResizedCrop, height, width, area, ASPECT, seed
        )
        got = boxes.resized_crop(sizes, center, height, width, area=area, aspect=ASPECT)
        assert (got.height, got.width) == want[2:]
        assert 0 <= want[0] <= height - got.height
        if min(area) > 1:
            assert got == want


def test_random_erasing():
    for seed in range(100):
        sizes, area, aspect = draws_of(seed), (0.02, 0.9), (0.3, 3.3)
        want = their_box(transforms.RandomErasing, 30, 40, area, aspect, seed)
        got = boxes.erased(sizes, np.zeros(2), 30, 40, area=area, aspect=aspect)
        assert (got.height, got.width) == want[2:]


def test_erasing_gives_up():
    """Where torchvision returns the image as it was, the box is empty."""
    sizes = np.random.RandomState(0).uniform(size=(50, TRIES, 2))
    got = boxes.erased(sizes, sizes[:, 0], 20, 20, area=(1.0, 2.0), aspect=(1.0, 1.0))
    assert not np.any(got.height * got.width)


def test_every_place_is_equally_likely():
    """As torch.randint draws it: all corners, none beyond."""
    stream = np.random.RandomState(0)
    got = boxes.random_crop(stream.uniform(size=(20000, 2)), 8, 12, 6)
    counts = np.zeros((3, 7))
    np.add.at(counts, (got.top, got.left), 1)
    expected = len(got.top) / counts.size
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - 20) < 4 * np.sqrt(2 * 20)
    largest = np.nextafter(np.float32(1), np.float32(0))
    corner = boxes.random_crop(np.full(2, largest), 1006, 4103, 6)
    assert (corner.top, corner.left) == (1000, 4097)


def test_numpy_and_jax_draw_the_same():
    """Images of one size in the compiled step, or each with its own."""
    stream = np.random.RandomState(0)
    sizes, places = (
        stream.uniform(size=shape).astype(np.float32)
        for shape in ((500, TRIES, 2), (500, 2))
    )
    ranges = {"area": AREA, "aspect": ASPECT}
    for draw in (boxes.resized_crop, boxes.erased):
        alone = draw(sizes, places, 375, 500, **ranges)
        each = draw(sizes, places, np.full(500, 375), np.full(500, 500), **ranges)
        traced = jax.jit(lambda s, p, draw=draw: draw(s, p, 375, 500, **ranges))(
            jnp.asarray(sizes), jnp.asarray(places)
        )
        for a, b, c in zip(alone, each, traced, strict=True):
            np.testing.assert_array_equal(a, b)
            # Rounding of the root, in float32, moves a side by a pixel now and then.
            assert np.mean(a != np.asarray(c)) < 0.02
            np.testing.assert_allclose(a, c, atol=1)


def test_the_shorter_side():
    draws = np.random.RandomState(0).uniform(size=5000)
    sides = boxes.shorter_side(draws, 256, 480)
    assert (sides.min(), sides.max()) == (256, 480)
    assert abs(sides.mean() - 368) < 4


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (333, 501), (64, 64), (3, 7)])
def test_sizes_after_resizing(size):
    image = torch.empty((1, *size))
    want = transforms.functional.resize(image, 100).shape[1:]
    assert boxes.resized(*size, 100) == tuple(want)
