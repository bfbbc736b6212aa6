"""How images reach the programs of a run: resident on the devices, or streamed.

The two classes have the same methods and give the same batches in the same order; the
programs differ only in where a batch comes from. No other file of `run/` asks which
delivery a run has.
"""

from collections.abc import Callable, Generator
from typing import Any

import jax
import numpy as np

from cnnjax.data.dataset import Dataset
from cnnjax.data.order import chunk_indices, eval_batches
from cnnjax.data.streaming import EvalStream, TrainStream
from cnnjax.devices.distributed import num_processes
from cnnjax.devices.layout import BATCHES, DATA, HOST, STREAM
from cnnjax.run.setup import SPLITS, Run, split_sizes
from cnnjax.run.starting.features import PLACE
from cnnjax.shard import shard
from cnnjax.training.chunk import BatchAt
from cnnjax.training.state import stream_key

# Images of one dispatch in a process. Three such amounts are in the host's memory at
# most: those that are read ahead, the next dispatch and the one that is computed.
DISPATCH_BYTES = 2**28
# Batches of evaluation that are read before they are asked for.
EVAL_AHEAD = 2


def resident_data(dataset: Dataset) -> dict[str, np.ndarray]:
    """All splits one after another: train, validation, test."""
    splits = [getattr(dataset, split) for split in SPLITS]
    return {
        "images": np.concatenate([split.images for split in splits]),
        "labels": np.concatenate([split.labels for split in splits]),
    }


def resident_shapes(dataset: Dataset) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of `resident_data`."""
    total = sum(split_sizes(dataset).values())
    return {
        "images": jax.ShapeDtypeStruct((total, *dataset.image_shape), np.uint8),
        "labels": jax.ShapeDtypeStruct((total,), np.int32),
    }


def resident_batches(batch_size: int, num_train: int) -> Callable[..., BatchAt]:
    """Batches chosen from all images, which are on the device.

    Args:
      batch_size: images a step.
      num_train: training images; they come first in `resident_data`.

    Returns:
      batches(data, seed, first_step, num_steps); of these only `num_steps` is static.
    """

    def batches(data, seed, first_step, num_steps):
        key = stream_key(seed, "shuffle")
        indices = chunk_indices(key, first_step, num_steps, batch_size, num_train)

        def at(i):
            chosen = shard().local(indices[i])
            return {name: array[chosen] for name, array in data.items()}

        return at

    return batches


def split_batches(
    sizes: dict[str, int], batch_size: int
) -> dict[str, tuple[np.ndarray, np.ndarray, np.int32]]:
    """Batches of each split of the resident data, padded to one common shape.

    Args:
      sizes: split name -> number of images, in the order of the resident data.
      batch_size: images a batch.

    Returns:
      split name -> (indices [M, batch_size], mask [M, batch_size], number of batches),
      with M the same for all, so that one program serves all splits.
    """
    largest = max(-(-size // batch_size) for size in sizes.values())
    batches, offset = {}, 0
    for split, size in sizes.items():
        indices, mask = eval_batches(size, batch_size)
        fill = ((0, largest - len(indices)), (0, 0))
        padded = np.pad(indices + offset, fill)
        batches[split] = (padded, np.pad(mask, fill), np.int32(len(indices)))
        offset += size
    return batches


def resident_batch(i: Any, data: Any, indices: jax.Array, mask: jax.Array):
    """Batch i of `split_batches`, chosen from all images, which are on the device."""
    chosen = shard().local(indices[i])
    return {name: array[chosen] for name, array in data.items()} | {
        "mask": shard().local(mask[i])
    }


class Resident:
    """All images are on every device, and each program chooses its batches there.

    Nothing is on a device before `load`.

    Args:
      run: of `set_up`.
      max_steps: largest number of steps of one dispatch.
    """

    takes = "the data"  # what a program takes beside the state
    train_kind, evaluation_kinds = DATA, (DATA, HOST, HOST)
    evaluation_batch = staticmethod(resident_batch)

    def __init__(self, run: Run, max_steps: int):
        sizes = split_sizes(run.dataset)
        self._run, self._data = run, None
        self._evaluations = split_batches(sizes, run.eval_batch_size)
        self.batches = resident_batches(run.train.batch_size, sizes["train"])
        # Examples for compiling: of what `take` gives, and of `evaluation`.
        self.train_example = resident_shapes(run.dataset)
        if run.featured:
            total = sum(sizes.values())
            self.train_example[PLACE] = jax.ShapeDtypeStruct((total,), np.int32)
        self.evaluation_example = (self.train_example, *self._evaluations["train"][:2])
        # The most steps of one call of `first_steps`.
        self.most_first_steps = run.eval.precise_batches

    @staticmethod
    def most_steps(run: Run) -> int:
        """Largest number of steps of one dispatch."""
        return run.total_steps

    def load(self, shared: Callable[[Callable[[], Any]], Any]) -> None:
        """Puts on the devices what all dispatches use.

        Args:
          shared: gives what its argument makes, or what another run of equal data made.
        """
        put = self._run.parallel.put
        self._data = shared(lambda: put(self._all(), DATA))

    def _all(self) -> dict[str, np.ndarray]:
        data = resident_data(self._run.dataset)
        if self._run.featured:
            data[PLACE] = np.arange(len(data["labels"]), dtype=np.int32)
        return data

    def take(self, first_step: int, num_steps: int) -> Any:
        """The data of the training program for these steps, on the devices."""
        return self._data

    def prepare(self, first_step: int, num_steps: int) -> None:
        """Reads what `take` will give next, while the devices compute."""

    def first_steps(self, num_steps: int) -> Generator[tuple]:
        """The first training batches: (first step, number of steps, data) a call."""
        yield np.int32(0), np.int32(num_steps), self._data

    def last_example(self) -> tuple:
        """As `evaluation_example`, for the end."""
        return self.evaluation_example

    def evaluation(self, split: str, final: bool = False) -> Generator[tuple]:
        """A split: (number of batches, *source) a call of the evaluation program.

        Args:
          split: its name.
          final: with all views of the last evaluation, where reading cuts them.
        """
        indices, mask, num_batches = self._evaluations[split]
        yield num_batches, self._data, indices, mask

    def waiting_bytes(self) -> int:
        """Bytes of images that wait on each device for the next dispatch."""
        return 0

    def close(self) -> None:
        """Ends the threads that read, if there are any."""


def streamed_batches(data: Any, seed, first_step, num_steps) -> BatchAt:
    """Batches that came with the call, one a step: [steps, n, ...]."""
    return lambda i: {name: array[i] for name, array in data.items()}


def streamed_batch(i: Any, batches: dict[str, jax.Array]):
    """Batch i of those that came with the call."""
    return {name: array[i] for name, array in batches.items()}


class Streamed:
    """Images are read while the devices compute, by each process its local slice.

    On a device are the images of a dispatch and of the next, or a batch of evaluation
    and the next. Nothing runs before the first call.

    Args:
      run: of `set_up`.
      max_steps: largest number of steps of one dispatch.
    """

    takes = "the images of a call"
    train_kind, evaluation_kinds = STREAM, (BATCHES,)
    batches = staticmethod(streamed_batches)
    evaluation_batch = staticmethod(streamed_batch)

    def __init__(self, run: Run, max_steps: int):
        self._run = run
        self.most_first_steps = self._max_steps = max_steps
        self._stream: TrainStream | None = None
        self._next_step = 0
        self._prepared: tuple[Any, Any] = (None, None)
        of_dispatch = len(run.seeds), max_steps, run.train.batch_size
        self.train_example = _examples(run, of_dispatch)
        of_batch = 1, run.eval_batch_size
        mask = jax.ShapeDtypeStruct(of_batch, np.float32)
        self.evaluation_example = (_examples(run, of_batch) | {"mask": mask},)

    @staticmethod
    def most_steps(run: Run) -> int:
        """As many as `DISPATCH_BYTES` have room for."""
        layout = run.parallel.layout
        of_device = (
            (len(run.seeds) // layout.seed)
            * (run.train.batch_size // layout.data)
            * int(np.prod(run.dataset.image_shape))
        )
        of_process = of_device * layout.num_devices // num_processes()
        return max(1, DISPATCH_BYTES // of_process)

    def load(self, shared: Callable[[Callable[[], Any]], Any]) -> None:
        """Nothing: every dispatch brings its own images."""

    def take(self, first_step: int, num_steps: int) -> Any:
        steps, data = self._prepared
        self._prepared = (None, None)
        if steps == (first_step, num_steps):
            return data
        return self._read(first_step, num_steps)

    def prepare(self, first_step: int, num_steps: int) -> None:
        if num_steps:
            data = self._read(first_step, num_steps)
            self._prepared = ((first_step, num_steps), data)

    def first_steps(self, num_steps: int) -> Generator[tuple]:
        with self._open(0, num_steps) as stream:
            for first in range(0, num_steps, self._max_steps):
                num = min(self._max_steps, num_steps - first)
                yield np.int32(first), np.int32(num), self._next(stream, num)

    def last_example(self) -> tuple:
        (example,) = self.evaluation_example
        views = self._run.dataset.train.num_views
        if views > 1:
            _, num, *shape = example["images"].shape
            images = jax.ShapeDtypeStruct((1, num, views, *shape), np.uint8)
            example = example | {"images": images}
        return (example,)

    def evaluation(self, split: str, final: bool = False) -> Generator[tuple]:
        batch_size = self._run.eval_batch_size
        with EvalStream(
            getattr(self._run.dataset, split),
            batch_size=batch_size,
            positions=self._run.parallel.local_indices("data", batch_size),
            ahead=EVAL_AHEAD,
            # Elsewhere an image does not depend on the others of its batch.
            fill=self._run.eval.statistics == "batch",
            views=final and bool(self._run.views.read),
        ) as stream:
            for batch in stream:
                names = ("images", "labels", "mask")
                arrays = {
                    name: array[None] for name, array in zip(names, batch, strict=True)
                }
                yield np.int32(1), self._run.parallel.put(arrays, BATCHES)

    def waiting_bytes(self) -> int:
        sizes = (x.size * x.dtype.itemsize for x in self.train_example.values())
        return sum(sizes) // self._run.parallel.layout.num_devices

    def close(self) -> None:
        self._prepared = (None, None)
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _read(self, first_step: int, num_steps: int) -> Any:
        if self._stream is None or self._next_step != first_step:
            self.close()
            self._stream = self._open(first_step, self._run.total_steps)
        self._next_step = first_step + num_steps
        return self._next(self._stream, num_steps)

    def _next(self, stream: TrainStream, num_steps: int) -> Any:
        return self._run.parallel.put(stream.take(num_steps, self._max_steps), STREAM)

    def _open(self, first_step: int, end_step: int) -> TrainStream:
        run, parallel = self._run, self._run.parallel
        seeds = np.asarray(run.seeds, np.int32)[
            parallel.local_indices("seed", len(run.seeds))
        ]
        return TrainStream(
            run.dataset.train,
            jax.vmap(lambda seed: stream_key(seed, "shuffle"))(seeds),
            batch_size=run.train.batch_size,
            first_step=first_step,
            end_step=end_step,
            positions=parallel.local_indices("data", run.train.batch_size),
            ahead=self._max_steps,
        )


def _examples(run: Run, leading: tuple[int, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of images and labels."""
    images = (*leading, *run.dataset.image_shape)
    return {
        "images": jax.ShapeDtypeStruct(images, np.uint8),
        "labels": jax.ShapeDtypeStruct(leading, np.int32),
    }


def delivery_of(run: Run) -> type[Resident] | type[Streamed]:
    """The class for the images of a run."""
    return Streamed if run.dataset.streamed else Resident
