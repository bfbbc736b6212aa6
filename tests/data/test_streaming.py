"""Streamed batches: those of resident delivery, read ahead, and no others."""

import functools
import signal
import threading
import time

import jax
import numpy as np
import pytest

from cnnjax.data import streaming
from cnnjax.data.order import chunk_indices, eval_batches
from cnnjax.data.split import Split
from cnnjax.data.streaming import EpochOrder, EvalStream, TrainStream
from cnnjax.errors import UserError
from tests.slow import slow

KEYS = jax.random.split(jax.random.key(5), 3)
chunk = jax.jit(chunk_indices, static_argnums=(2, 3, 4))


class Recording:
    """A split whose images say which they are; remembers what was read."""

    image_shape = (1, 2, 1)
    drawn = False

    def __init__(self, num_images, broken=None):
        numbers = np.arange(num_images)
        images = np.stack([numbers // 256, numbers % 256], axis=-1)
        images = images.astype(np.uint8).reshape(-1, 1, 2, 1)
        self.whole = Split(images, (numbers % 7).astype(np.int32))
        self.broken = broken
        self.reads = []

    def __len__(self):
        return len(self.whole)

    def read(self, indices):
        self.reads.append(indices.tolist())
        if self.broken in indices:
            raise UserError("image is broken")
        return self.whole.read(indices)

    def seen(self):
        return sorted(i for read in self.reads for i in read)


def stream_of(
    split, keys=KEYS, positions=None, *, first_step=0, end_step=2**40, batch=4, ahead=2
):
    return TrainStream(
        split,
        keys,
        batch_size=batch,
        first_step=first_step,
        end_step=end_step,
        positions=np.arange(batch) if positions is None else positions,
        ahead=ahead,
        threads=3,
    )


def resident(split, keys, positions, first_step, num_steps, batch):
    """The same batches as the training program takes them."""
    orders = [chunk(key, first_step, num_steps, batch, len(split)) for key in keys]
    chosen = np.stack(orders)[..., positions]
    return split.whole.images[chosen], split.whole.labels[chosen], chosen


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    names = [t.name for t in threading.enumerate() if t.name.startswith("read-ahead")]
    assert not names


# Batches smaller and larger than the set, a divisor, coprime; all places or a share.
@pytest.mark.parametrize(
    ("num_images", "batch", "first_step", "num_seeds", "positions"),
    [
        slow(10, 4, 0, 1, range(4)),
        (10, 4, 7, 3, range(2, 4)),
        (3, 7, 5, 2, (6, 0, 3)),
        slow(12, 3, 100_003, 1, (1,)),
        slow(300, 128, 1, 2, range(64, 128)),
        (5, 5, 2, 2, ()),
    ],
)
def test_batches_are_those_of_resident_delivery(
    num_images, batch, first_step, num_seeds, positions, monkeypatch
):
    monkeypatch.setattr(streaming, "PIECE", 20)
    split, keys = Recording(num_images), KEYS[:num_seeds]
    positions = np.array(positions, int)
    with stream_of(split, keys, positions, first_step=first_step, batch=batch) as s:
        parts = [s.take(n) for n in (1, 5, 2)]
    got = {k: np.concatenate([p[k] for p in parts], axis=1) for k in parts[0]}
    images, labels, _ = resident(split, keys, positions, first_step, 8, batch)
    np.testing.assert_array_equal(got["images"], images)
    np.testing.assert_array_equal(got["labels"], labels)
    assert (got["images"].dtype, got["labels"].dtype) == (np.uint8, np.int32)
    # Nothing else was read: what was asked for, and the two steps behind it.
    *_, chosen = resident(split, keys, positions, first_step, 10, batch)
    seen, most = split.seen(), sorted(chosen.ravel())
    assert len(seen) <= len(most)
    assert set(seen) <= set(most)


def test_positions_far_beyond_32_bits():
    step, batch, num_images = 2**30, 4096, 10_000
    epoch, start = divmod(step * batch, num_images)
    epoch_key = jax.random.fold_in(KEYS[0], epoch)
    want = np.asarray(jax.random.permutation(epoch_key, num_images))[start : start + 9]
    got = EpochOrder(KEYS[0], num_images).at(step * batch + np.arange(len(want)))
    np.testing.assert_array_equal(got, want)


def test_few_orders_are_kept(monkeypatch):
    monkeypatch.setattr(streaming, "MOST_INDICES", 30)
    order = EpochOrder(KEYS[0], 10)
    want = np.asarray(chunk(KEYS[0], 0, 9, 10, 10)).ravel()
    np.testing.assert_array_equal(order.at(np.arange(90)), want)
    assert len(order._orders) == 3
    np.testing.assert_array_equal(order.at(np.arange(5)), want[:5])


def test_only_a_few_steps_are_read_ahead():
    split = Recording(1000)
    with stream_of(split, ahead=3, batch=10) as stream:
        stream.take(4)
        deadline = time.monotonic() + 10
        while len(split.reads) < (4 + 3) * len(KEYS) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)  # for a read too many to show
        assert len(split.reads) == (4 + 3) * len(KEYS)


def test_nothing_is_read_behind_the_last_step():
    split = Recording(1000)
    with stream_of(split, KEYS[:2], first_step=5, end_step=9, ahead=8) as stream:
        taken = stream.take(4, padded_steps=6)
    assert len(split.seen()) == 2 * 4 * 4
    assert taken["images"].shape == (2, 6, 4, 1, 2, 1)
    assert taken["labels"].shape == (2, 6, 4)
    assert taken["images"][:, :4].any((2, 3, 4, 5)).all()
    assert not taken["images"][:, 4:].any()
    assert not taken["labels"][:, 4:].any()


def test_a_broken_image_is_an_error_of_its_step():
    order = np.asarray(chunk(KEYS[0], 0, 5, 4, 20))
    split = Recording(20, broken=order[3, 1])
    stream = stream_of(split, KEYS[:1])
    want = split.whole.images[order[:3]][None]
    np.testing.assert_array_equal(stream.take(3)["images"], want)
    with pytest.raises(UserError, match="image is broken"):
        stream.take(1)


def test_ctrl_c_ends_a_wait():
    waiting = threading.Event()

    def interrupt(*_):
        waiting.set()
        raise KeyboardInterrupt

    class Slow(Recording):
        def read(self, indices):
            waiting.wait(10)
            return super().read(indices)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        stream = stream_of(Slow(100))
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            stream.take(1)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("num_images", [0, 3, 8, 20])
@pytest.mark.parametrize("positions", [range(8), range(5, 8), (1,), ()])
def test_evaluation_reads_every_example_once(num_images, positions, monkeypatch):
    monkeypatch.setattr(streaming, "PIECE", 2)
    split, positions = Recording(num_images), np.array(positions, int)
    stream = EvalStream(split, batch_size=8, positions=positions, ahead=1)
    with stream:
        batches = list(stream)
    indices, mask = eval_batches(num_images, 8)
    assert len(batches) == len(stream) == len(indices)
    for (images, labels, there), i, m in zip(batches, indices, mask, strict=True):
        own, of_mask = i[positions], m[positions]
        shown = of_mask.astype(bool)
        np.testing.assert_array_equal(there, of_mask)
        assert there.dtype == np.float32
        want = split.whole.images[own] * shown[:, None, None, None]
        np.testing.assert_array_equal(images, want)
        np.testing.assert_array_equal(labels, split.whole.labels[own] * shown)
    wanted = indices[:, positions][mask[:, positions] == 1]
    assert split.seen() == sorted(wanted)


@pytest.mark.parametrize("num_images", [3, 8, 20])
def test_evaluation_may_fill_the_last_batch_with_the_first_images(num_images):
    split, positions = Recording(num_images), np.array([1, 5, 7])
    stream = EvalStream(split, batch_size=8, positions=positions, ahead=1, fill=True)
    with stream:
        batches = list(stream)
    indices, mask = eval_batches(num_images, 8)
    for (images, labels, there), i, m in zip(batches, indices, mask, strict=True):
        np.testing.assert_array_equal(there, m[positions])
        np.testing.assert_array_equal(images, split.whole.images[i[positions]])
        np.testing.assert_array_equal(labels, split.whole.labels[i[positions]])


def test_evaluation_may_be_left_early_or_fail():
    stream = functools.partial(
        EvalStream, batch_size=4, positions=np.arange(4), ahead=2
    )
    with stream(Recording(100)) as batches:
        next(iter(batches))
    with (
        pytest.raises(UserError, match="image is broken"),
        stream(Recording(100, broken=50)) as batches,
    ):
        list(batches)
