"""Colour along principal axes: the axes, and what is added."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.cache import VARIABLE
from cnnjax.data.augment import pca
from cnnjax.data.augment.given import STREAMS, Given
from cnnjax.data.split import Split, StreamedSplit
from cnnjax.data.standardize import measure


def images_of(num=30):
    """Three channels that go together, by different amounts."""
    stream = np.random.RandomState(0)
    pixels = stream.normal(128, 30, (num, 7, 5, 1)) * np.array([0.5, 1, 0.8])
    pixels += stream.normal(0, 12, (num, 7, 5, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def split_of(images):
    return Split(images, np.zeros(len(images), np.int32))


def streamed(images):
    def read(pool, indices):
        return images[indices], np.zeros(len(indices), np.int32)

    shape = images.shape[1:]
    return StreamedSplit("train", read, "train", np.arange(len(images)), shape)


def test_axes_are_those_of_a_singular_value_decomposition():
    images = images_of()
    pixels = images.reshape(-1, 3) / 255
    centred = pixels - pixels.mean(axis=0)
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    axes = pca.colour_axes(split_of(images), "")
    for i in range(3):
        value = singular[i] ** 2 / len(pixels)
        want = rows[i] * value * np.sign(rows[i, np.abs(rows[i]).argmax()])
        np.testing.assert_allclose(axes[:, i], want, rtol=1e-5, atol=1e-8)


def test_axes_of_grey_and_of_constant_images():
    grey = images_of()[..., :1]
    np.testing.assert_allclose(
        pca.colour_axes(split_of(grey), ""), np.var(grey / 255), rtol=1e-5
    )
    constant = np.full((4, 3, 3, 3), 200, np.uint8)
    np.testing.assert_allclose(pca.colour_axes(split_of(constant), ""), 0, atol=1e-6)


def test_streamed_images_have_the_same_axes(monkeypatch, tmp_path):
    """To the last bit, also where two processes read a part each, or none."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(pca, "BLOCK", 4)
    monkeypatch.setattr(pca, "MOST_IMAGES", 21)
    images = images_of()
    want = pca.colour_axes(split_of(images), "")
    alone = pca.colour_axes(streamed(images), "alone")
    np.testing.assert_array_equal(alone, want)
    with monkeypatch.context() as patch:
        patch.setattr(pca, "_streamed_sums", None)  # the sums were kept
        kept = pca.colour_axes(streamed(images), "alone")
    np.testing.assert_array_equal(kept, want)
    parts = [pca._streamed_sums(pca._sample(streamed(images)), i, 2) for i in (0, 1)]
    assert parts[0][0, 0] + parts[1][0, 0] == 21 * 35
    np.testing.assert_array_equal(pca._axes(parts[0] + parts[1]), want)


def test_what_is_added():
    """The same to all pixels; normal along each axis, with its eigenvalue."""
    axes = pca.colour_axes(split_of(images_of()), "")
    statistics = measure("none", images_of(1))
    amounts = dict.fromkeys(STREAMS, 0) | {"pca_colour": 0.1}
    given = Given(jax.random.key(0), amounts, statistics, axes)
    images = jnp.full((4000, 2, 1, 3), 0.5)
    added = np.asarray(pca.random_pca_colour(given, images)) - 0.5
    np.testing.assert_allclose(added[:, 0], added[:, 1], atol=1e-7)
    values = np.linalg.norm(axes, axis=0)
    along = added[:, 0, 0] @ (axes / values) / values
    np.testing.assert_allclose(along.mean(axis=0), 0, atol=0.006)
    np.testing.assert_allclose(np.cov(along.T), 0.01 * np.eye(3), atol=1e-3)


def test_a_shift_by_hand():
    axes = np.array([[0.2, 0, 0], [0, 0.1, 0.3], [0, 0, 0.4]], np.float32)
    got = pca.shift(jnp.array([[1.0, 2.0, -1.0]]), axes)
    assert got.shape == (1, 1, 1, 3)
    np.testing.assert_allclose(got[0, 0, 0], [0.2, -0.1, -0.4], rtol=1e-6)


@pytest.mark.parametrize(("num", "first"), [(8, [0, 2, 5]), (3, [0, 1, 2])])
def test_of_many_images_evenly_spread_ones_are_taken(monkeypatch, num, first):
    monkeypatch.setattr(pca, "MOST_IMAGES", 3)
    images = np.arange(num, dtype=np.uint8)[:, None, None, None]
    for split in (split_of(images), streamed(images)):
        got, _ = pca._sample(split).read(np.arange(3))
        assert got.ravel().tolist() == first
