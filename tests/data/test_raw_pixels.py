"""Pixels that are stored as they are: the same as out of any lossless file."""

import io

import numpy as np
import pytest
from PIL import Image

from cnnjax.data.cutting.cuts import cutting
from cnnjax.data.cutting.geometry import TRAIN, Geometry, draw
from cnnjax.data.cutting.raw import Raw
from cnnjax.data.images import decode_all

SIZE, NUM = 8, 12


def files(kind):
    """The same photographs, of odd sizes, one of them narrower than a crop."""
    random, found = np.random.RandomState(0), []
    for number in range(NUM):
        sides = (3, 40) if number == 0 else random.randint(8, 40, 2)
        pixels = random.randint(0, 256, (*sides, 3), np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, kind)
        found.append((f"{number}", content.getvalue()))
    return found


def seen(kind, geometry, draws=None, views=False):
    cut = cutting(geometry, SIZE, draws, views)
    return decode_all(files(kind), NUM, 3, SIZE, cut=cut)


@pytest.mark.parametrize("train", TRAIN)
def test_cut_as_any_other_file(train):
    geometry = Geometry(train=train, shorter_side=(8, 14))
    draws = draw(0, np.zeros(NUM, int), np.arange(NUM))
    np.testing.assert_array_equal(
        seen("PPM", geometry, draws), seen("PNG", geometry, draws)
    )


@pytest.mark.parametrize("evaluation", ["center", "resize_crop", "ten_crop"])
def test_evaluated_as_any_other_file(evaluation):
    geometry = Geometry(evaluation=evaluation)
    for views in (False, True):
        got, want = (seen(kind, geometry, views=views) for kind in ("PPM", "PNG"))
        np.testing.assert_array_equal(got, want)


def test_a_crop_copies_nothing():
    (_, content) = files("PPM")[3]
    raw = Raw.of(content)
    assert np.shares_memory(raw.crop((1, 2, 6, 7)).pixels, raw.pixels)
    outside = raw.crop((-1, 0, 4, 4))
    np.testing.assert_array_equal(
        np.asarray(outside), np.asarray(raw.image().crop((-1, 0, 4, 4)))
    )


def test_what_is_not_such_a_file():
    (_, content) = files("PPM")[3]
    comment = content[:3] + b"# made by hand\n" + content[3:]
    deep = content.replace(b"\n255\n", b"\n65535\n", 1)
    for other in (content[:-1], content + b" ", comment, deep, files("PNG")[3][1], b""):
        assert Raw.of(other) is None
