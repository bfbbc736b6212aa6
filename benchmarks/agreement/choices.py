"""What random numbers decide in a training here, in a file that torch can follow.

Order of the images, place and mirror image of each, learning rates, what is subtracted,
and the first weights: with them a training is arithmetic, and two right programs
differ by rounding only.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from cnnjax.data.order import chunk_indices
from cnnjax.errors import UserError
from cnnjax.run.setup import Run, initial_state
from cnnjax.training.state import stream_key


@dataclasses.dataclass(frozen=True)
class Choices:
    """The choices of one seed; all arrays on the host.

    Args:
      order: int32 [steps, B], which training images make each batch.
      shifts: int8 [steps, B, 2], rows and columns by which each image is moved up and
        to the left; zeros come in from outside.
      mirrored: bool [steps, B], whether it is mirrored after that.
      rates: float32 [steps], learning rates.
      mean: float32 [H, W, C], what is subtracted from pixels of 0 to 1.
      weights: path of a parameter, such as 'stem_conv/kernel' -> float32, before the
        first step.
    """

    order: np.ndarray
    shifts: np.ndarray
    mirrored: np.ndarray
    rates: np.ndarray
    mean: np.ndarray
    weights: dict[str, np.ndarray]

    def save(self, path: Path) -> None:
        """Writes the file."""
        arrays = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        weights = arrays.pop("weights")
        arrays |= {f"weights/{name}": value for name, value in weights.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **arrays)

    @staticmethod
    def load(path: Path) -> "Choices":
        """Reads the file."""
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        prefix = "weights/"
        names = [name for name in arrays if name.startswith(prefix)]
        weights = {name.removeprefix(prefix): arrays.pop(name) for name in names}
        return Choices(**arrays, weights=weights)


def record(run: Run) -> Choices:
    """The choices of the first seed of a run.

    Raises:
      UserError: the images are changed in a way that is not recorded here.
    """
    seed, steps = run.seeds[0], np.arange(run.total_steps, dtype=np.int32)
    images, batch_size = run.dataset.train.images, run.train.batch_size
    order = chunk_indices(
        stream_key(seed, "shuffle"), 0, len(steps), batch_size, len(images)
    )
    of_step = functools.partial(_moved, run, seed)
    rows, columns, mirrored = jax.tree.map(
        np.asarray, jax.jit(lambda steps: jax.lax.map(of_step, steps))(steps)
    )
    black = np.zeros((1, *run.dataset.image_shape), np.uint8)
    choices = Choices(
        order=np.asarray(order),
        shifts=np.stack([rows, columns], axis=-1).astype(np.int8),
        mirrored=mirrored,
        rates=run.schedule(steps).astype(np.float32),
        mean=-np.asarray(run.augment.preprocess(black))[0],
        weights={
            path: np.asarray(leaf)[0]
            for path, leaf in flatten_dict(initial_state(run).params, sep="/").items()
        },
    )
    ours, _ = augmented(run, seed, 0, images[choices.order[0]])
    if not np.array_equal(ours, followed(choices, 0, images)):
        raise UserError(
            "a comparison with torch follows config.augment.crop_pad, .flip and "
            ".standardize=pixel_mean only, with a padding below half an image: leave "
            "the others off, and take larger images"
        )
    return choices


def augmented(run: Run, seed: int, step: Any, images: Any) -> tuple[Any, Any]:
    """Images and targets as the training step of the run sees them."""
    labels = jnp.zeros(len(images), jnp.int32)
    return run.augment.train(stream_key(seed, "augment", step), images, labels)


def followed(choices: Choices, step: int, images: np.ndarray) -> np.ndarray:
    """A batch as the file says, in plain NumPy: float32 [B, H, W, C].

    Args:
      choices: of the training.
      step: which batch.
      images: uint8 [N, H, W, C], the training images.
    """
    pixels = images[choices.order[step]].astype(np.float32) / np.float32(255)
    pixels -= choices.mean
    pad = int(np.abs(choices.shifts).max(initial=0))
    height, width = pixels.shape[1:3]
    padded = np.pad(pixels, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    out = np.empty_like(pixels)
    for i, (down, right) in enumerate(choices.shifts[step] + pad):
        cut = padded[i, down : down + height, right : right + width]
        out[i] = cut[:, ::-1] if choices.mirrored[step, i] else cut
    return out


def _moved(run: Run, seed: int, step: Any) -> tuple[Any, Any, Any]:
    """(rows, columns, mirrored) of the images of a step, each [B].

    Read off images that hold the numbers of their own rows and columns.
    """
    height, width, channels = run.dataset.image_shape
    shape = (run.train.batch_size, height, width, channels)
    rows = np.arange(height, dtype=np.uint8)[:, None, None] + np.uint8(1)
    columns = np.arange(width, dtype=np.uint8)[None, :, None] + np.uint8(1)

    def seen(image):
        out, _ = augmented(run, seed, step, jnp.broadcast_to(image, shape))
        return out[..., 0]

    black = seen(np.zeros((1, 1, 1), np.uint8))  # what is subtracted cancels
    middle, centre = height // 2, width // 2

    def number(image, column):
        value = (seen(image) - black)[:, middle, column]
        return jnp.rint(value * 255).astype(jnp.int32) - 1

    left, right = number(columns, centre - 1), number(columns, centre)
    mirrored = left > right
    # Where the column at the centre came from before it was mirrored.
    unmoved = jnp.where(mirrored, width - 1 - centre, centre)
    return number(rows, centre) - middle, right - unmoved, mirrored
