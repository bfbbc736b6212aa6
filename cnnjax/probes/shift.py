"""Test error on images moved by some pixels: up, down, left and right.

Stored images are moved before they are standardised. What comes into view is the
background: the median of the pixels on the image's border, for each image and channel
(black for MNIST and digits). Distances go up to a quarter of the shorter side, at most
eight of them. Errors are those of at most 2,000 test images, evenly spread.

Source: Zhang 2019, arXiv 1904.11486, looks at shifts of the input in this way; the
distances and the background are ours.
"""

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.probes.probe import Probe, Subject, count_errors, number, profile

AXES = ("shift (pixels)", "test error (%)")
DIRECTIONS = ((-1, 0), (1, 0), (0, -1), (0, 1))
MOST_DISTANCES = 8


def distances(image_shape: tuple[int, int, int]) -> list[int]:
    """0 and the distances in pixels, in rising order."""
    farthest = max(1, min(image_shape[:2]) // 4)
    count = min(farthest, MOST_DISTANCES) + 1
    return np.linspace(0, farthest, count).round().astype(int).tolist()


def shifted(images: jax.Array, down: jax.Array, right: jax.Array) -> jax.Array:
    """Images uint8 [B, H, W, C] moved by pixels, which may be traced."""
    height, width = images.shape[1:3]
    rows, columns = jnp.arange(height) - down, jnp.arange(width) - right
    in_rows = (rows >= 0) & (rows < height)
    in_columns = (columns >= 0) & (columns < width)
    inside = in_rows[:, None] & in_columns[None, :]
    moved = images[:, rows.clip(0, height - 1)][:, :, columns.clip(0, width - 1)]
    return jnp.where(inside[None, :, :, None], moved, background(images))


def background(images: jax.Array) -> jax.Array:
    """Median of the border of each image and channel: [B, 1, 1, C]."""
    border = [
        images[:, 0],
        images[:, -1],
        images[:, 1:-1, 0],
        images[:, 1:-1, -1],
    ]
    pixels = jnp.concatenate(border, axis=1)  # [B, pixels, C]
    # The lower of the two in the middle: a value that is there.
    middle = jnp.sort(pixels, axis=1)[:, (pixels.shape[1] - 1) // 2]
    return middle[:, None, None, :]


def _measure(subject: Subject):
    steps = np.array(
        [
            (distance * down, distance * right)
            for distance in distances(subject.image_shape)[1:]
            for down, right in DIRECTIONS
        ]
    )
    steps = np.concatenate([np.zeros((1, 2), int), steps]).astype(np.int32)

    def measure(params, model_state, images, labels, mask):
        def errors_at(step):
            moved = jax.vmap(shifted, (0, None, None))(images, step[0], step[1])

            def forward(x):
                return subject.forward(subject.model, params, model_state, x)

            return count_errors(subject, forward, labels, mask, moved)

        wrong = jax.lax.map(errors_at, jnp.asarray(steps))
        return {"error": 100 * wrong / mask.sum()}

    return measure


def _report(subject: Subject, measured):
    error = np.asarray(measured["end"]["error"], float)
    of_distance = np.concatenate(
        [error[:1], error[1:].reshape(-1, len(DIRECTIONS)).mean(axis=1)]
    )
    pixels = distances(subject.image_shape)
    return {
        "error": number(error[1:].mean()),
        "profiles": {"": profile(AXES, pixels, of_distance, pixels)},
    }


SHIFT = Probe(
    split="test",
    most_images=2000,
    moments=("end",),
    measure=_measure,
    report=_report,
)
