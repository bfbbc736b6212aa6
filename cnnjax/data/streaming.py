"""Batches of data sets that do not fit a device, read ahead by threads.

The order of the examples is that of resident delivery (`data/order.py`): a function
of key and step, so there is no state to save, and to resume is to start at another
step. A process reads the places in each batch that it is asked for, and no others.

Threads suffice: Pillow decodes and resizes without Python's lock.
"""

import collections
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import jax
import numpy as np

from cnnjax.data.cutting.geometry import draw
from cnnjax.data.split import Split, StreamedSplit

# Images that a thread reads at once: enough that the call costs little, few enough
# to keep all threads at work on one batch.
PIECE = 64
# Drawn orders are kept up to so many indices, but always those of two epochs.
MOST_INDICES = 2**22
MOST_EPOCHS = 64


class EpochOrder:
    """The endless order of the examples of one seed, drawn on the host.

    Args:
      key: of the stream of the data order, as in `order.chunk_indices`.
      num_examples: N, at least 1.
    """

    def __init__(self, key: jax.Array, num_examples: int):
        self._key: Any = np.asarray(jax.random.key_data(key))
        self._impl = jax.random.key_impl(key)
        self._num_examples = num_examples
        self._kept = min(MOST_EPOCHS, max(2, MOST_INDICES // num_examples))
        self._orders: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def at(self, positions: np.ndarray) -> np.ndarray:
        """The examples at some positions of the order.

        Shapes: positions int64 [n]; result int32 [n].
        """
        epochs, places = np.divmod(positions, self._num_examples)
        result = np.empty(positions.shape, np.int32)
        for epoch in np.unique(epochs):
            of_epoch = epochs == epoch
            result[of_epoch] = self._order(int(epoch))[places[of_epoch]]
        return result

    def draws(self, positions: np.ndarray) -> np.ndarray:
        """What is drawn for the examples at some positions, float64 [n, DRAWS]."""
        words = self._key.ravel().astype(np.uint64)
        key = int(words[0]) << 32 | int(words[-1])
        return draw(key, positions // self._num_examples, self.at(positions))

    def _order(self, epoch: int) -> np.ndarray:
        with self._lock:
            if epoch not in self._orders:
                while len(self._orders) >= self._kept:
                    del self._orders[min(self._orders)]
                self._orders[epoch] = self._draw(epoch)
            return self._orders[epoch]

    def _draw(self, epoch: int) -> np.ndarray:
        with jax.default_device(_host()):
            key = jax.random.wrap_key_data(self._key, impl=self._impl)
            key = jax.random.fold_in(key, epoch)
            return np.asarray(jax.random.permutation(key, self._num_examples), np.int32)


class ReadAhead:
    """The results of calls in their order, computed by threads in advance.

    Args:
      calls: in the order of their results.
      ahead: how many calls are at work or done before they are asked for, at least 1.
      threads: how many work; 0 = one for each core that the process may use.
    """

    def __init__(self, calls: Iterator[Callable[[], Any]], ahead: int, threads: int):
        self._calls = calls
        self._threads = ThreadPoolExecutor(threads or num_cores(), "read-ahead")
        self._results: collections.deque[Future] = collections.deque()
        for call in itertools.islice(calls, ahead):
            self._results.append(self._threads.submit(call))

    def next(self) -> Any:
        """The next result, or the exception of its call; that one closes it."""
        try:
            result = self._results.popleft().result()
            for call in itertools.islice(self._calls, 1):
                self._results.append(self._threads.submit(call))
            return result
        except BaseException:  # of Ctrl-C too: no thread stays behind
            self.close()
            raise

    def close(self) -> None:
        """Drops results that were not taken and waits for the threads to end."""
        self._threads.shutdown(cancel_futures=True)
        self._results.clear()


class _Stream:
    """The common part of the two streams: pieces of batches, and closing.

    Args:
      split: read from.
      positions: places in each batch that are wanted.
    """

    _reading: ReadAhead

    def __init__(self, split: Split | StreamedSplit, positions: np.ndarray):
        self._split = split
        self._positions = np.asarray(positions, np.int64)
        starts = range(0, len(self._positions), PIECE)
        self._pieces = [slice(start, start + PIECE) for start in starts]

    def close(self) -> None:
        """Ends the threads; the stream cannot be used any more."""
        self._reading.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class TrainStream(_Stream):
    """The training batches of several seeds, step by step; reading starts at once.

    At most `ahead` steps wait in memory, beside those that `take` has given away.

    Args:
      split: the training split.
      keys: one a seed, of the stream of the data order.
      batch_size: examples a step, over all processes.
      first_step: number of the first step to take.
      end_step: number behind that of the last one; nothing is read beyond it.
      positions: places in the batch that this process needs, each below `batch_size`.
      ahead: steps that are read before they are asked for, at least 1.
      threads: that read; 0 = one for each core that the process may use.
    """

    def __init__(
        self,
        split: Split | StreamedSplit,
        keys: jax.Array,
        *,
        batch_size: int,
        first_step: int,
        end_step: int,
        positions: np.ndarray,
        ahead: int,
        threads: int = 0,
    ):
        super().__init__(split, positions)
        self._orders = [EpochOrder(key, len(split)) for key in keys]
        self._batch_size = batch_size
        rows = len(self._orders) * len(self._pieces)
        calls = self._calls(range(first_step, end_step))
        self._reading = ReadAhead(calls, ahead * rows, threads)

    def take(self, num_steps: int, padded_steps: int = 0) -> dict[str, np.ndarray]:
        """The next steps.

        Args:
          num_steps: how many.
          padded_steps: length of the axis of steps, if more; zero-padded.

        Returns:
          {'images': uint8 [S, steps, n, H, W, C], 'labels': int32 [S, steps, n]}, for
          S keys and n positions.

        Raises:
          UserError: an image cannot be read; the stream is closed then.
        """
        length = max(padded_steps, num_steps)
        shape = (len(self._orders), length, len(self._positions))
        images = np.zeros((*shape, *self._split.image_shape), np.uint8)
        labels = np.zeros(shape, np.int32)
        for step in range(num_steps):
            for seed, piece in itertools.product(range(shape[0]), self._pieces):
                place = (seed, step, piece)
                images[place], labels[place] = self._reading.next()
        return {"images": images, "labels": labels}

    def _calls(self, steps: range) -> Iterator[Callable[[], Any]]:
        for step in steps:
            for order, piece in itertools.product(self._orders, self._pieces):
                yield functools.partial(self._read, order, step, piece)

    def _read(self, order: EpochOrder, step: int, piece: slice):
        positions = step * self._batch_size + self._positions[piece]
        draws = (order.draws(positions),) if self._split.drawn else ()
        return self._split.read(order.at(positions), *draws)


class EvalStream(_Stream):
    """The batches of one pass over a split, in its order; reading starts at once.

    Iterating gives (images uint8 [n, H, W, C], labels int32 [n], mask float32 [n]) for
    n positions, once a batch; places behind the last example are 0 at mask 0. An image
    that cannot be read raises its UserError there.

    Args:
      split: read from.
      batch_size: B, examples a batch, over all processes.
      positions: places in the batch that this process needs, each below B.
      ahead: batches that are read before they are asked for, at least 1.
      threads: that read; 0 = one for each core that the process may use.
      fill: places behind the last example have the first ones instead, as those of
        `eval_batches`.
      views: images are all views of the last evaluation, [n, V, H, W, C].
    """

    def __init__(
        self,
        split: Split | StreamedSplit,
        *,
        batch_size: int,
        positions: np.ndarray,
        ahead: int,
        threads: int = 0,
        fill: bool = False,
        views: bool = False,
    ):
        super().__init__(split, positions)
        self._fill = fill
        self._shape: tuple[int, ...] = split.image_shape
        self._read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = split.read
        if views and isinstance(split, StreamedSplit):
            self._shape = (split.num_views, *split.image_shape)
            self._read = split.read_views
        self._starts = range(0, len(split), batch_size)
        self._reading = ReadAhead(self._calls(), ahead * len(self._pieces), threads)

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for start in self._starts:
            there = start + self._positions < len(self._split)
            images = np.zeros((len(there), *self._shape), np.uint8)
            labels = np.zeros(len(there), np.int32)
            for piece in self._pieces:
                read = there[piece] | self._fill
                places = np.arange(len(there))[piece][read]
                images[places], labels[places] = self._reading.next()
            yield images, labels, there.astype(np.float32)

    def _calls(self) -> Iterator[Callable[[], Any]]:
        for start, piece in itertools.product(self._starts, self._pieces):
            places = start + self._positions[piece]
            if self._fill:
                places = places % len(self._split)
            yield functools.partial(self._read, places[places < len(self._split)])


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _host() -> jax.Device | None:
    """The device where orders are drawn; None for the default, without a CPU's own."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS names accelerators only
        return None
