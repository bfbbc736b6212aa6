"""Shifted images, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.net.forward import forward_eval
from cnnjax.probes import PROBES
from cnnjax.probes.shift import background, distances, shifted
from tests.probes.cases import (
    errors_of,
    make_images,
    make_net,
    make_subject,
    preprocess,
)


def moved(images, down, right):
    """Images [B, H, W, C] moved on a canvas of the border's (lower) median."""
    _, height, width, _ = images.shape
    ring = np.ones((height, width), bool)
    ring[1:-1, 1:-1] = False
    border = np.sort(images[:, ring], axis=1)
    canvas = np.empty_like(images)
    canvas[:] = border[:, (ring.sum() - 1) // 2][:, None, None]
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                canvas[:, row, column] = images[:, row - down, column - right]
    return canvas


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, 0), (-2, 0), (0, 1), (0, -7)])
def test_images_are_moved(down, right):
    images = make_images()[0][0][:, :, :7]
    got = shifted(jnp.asarray(images), down, right)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, moved(images, down, right))


def test_the_background_of_a_figure_is_what_is_around_it():
    image = np.zeros((1, 8, 8, 1), np.uint8)
    image[0, 2:8, 3:5] = 200  # touches the lower border
    assert background(jnp.asarray(image)).tolist() == [[[[0]]]]


def test_distances_go_to_a_quarter_of_the_image():
    assert distances((8, 8, 1)) == [0, 1, 2]
    assert distances((3, 9, 1)) == [0, 1]
    assert distances((28, 28, 1)) == list(range(8))
    assert distances((224, 224, 3)) == [0, 7, 14, 21, 28, 35, 42, 49, 56]


def test_errors_are_those_on_data_that_were_shifted_before():
    net = make_net("convnet_cifar", widths=(4,), num_convs=1, head="dense")
    images, labels, mask = make_images()

    def error(down, right):
        logits = [forward_eval(*net, preprocess(moved(x, down, right))) for x in images]
        return errors_of(np.stack(logits), labels, mask)

    want = [
        np.mean([error(s, 0), error(-s, 0), error(0, s), error(0, -s)])
        for s in (0, 1, 2)
    ]
    subject = make_subject(net[0])
    seen = jax.jit(PROBES["shift"].measure(subject))(
        *net[1:], *map(jnp.asarray, make_images())
    )
    record = PROBES["shift"].report(subject, {"end": seen})
    np.testing.assert_allclose(record["profiles"][""]["values"], want, rtol=1e-5)
    assert record["profiles"][""]["labels"] == [0, 1, 2]
    assert record["error"] == pytest.approx(np.mean(want[1:]), rel=1e-5)
    assert len(set(want)) > 1
