"""Every mode, layout and norm gives the numbers of one device."""

import dataclasses

import flax.linen as nn
import numpy as np
import pytest

from cnnjax.devices.layout import SEEDS, STREAM, Layout
from cnnjax.devices.parallel import Parallel
from cnnjax.errors import UserError
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.norm import NORMS, Norm
from cnnjax.net.initialize import abstract_variables
from cnnjax.shard import WHOLE, computing, shard
from tests.run.laid_out import (
    CLOSE,
    MODES,
    assert_close,
    assert_equal,
    cached,
    largest_difference,
    train,
)
from tests.run.tiny import RESNET, tiny_run
from tests.slow import slow, slow_but

BATCH = 16
SETTINGS = {"group": {"norm__channels_per_group": 2}}


class SmallNet(nn.Module):
    """Two convolutions with a norm behind each."""

    norm: Norm
    num_classes: int

    @nn.compact
    def __call__(self, images, *, train):
        x = images
        for i in (1, 2):
            x = Conv(4, 3, strides=i, padding=1, name=f"conv{i}")(x)
            x = nn.relu(self.norm(name=f"norm{i}")(x, train=train))
        return Dense(self.num_classes, name="head")(x.mean((1, 2)))


def small_run(kind="batch", layout="seed=1", mode="jit", seeds=1, **changes):
    changes = {"train__batch_size": BATCH, "train__ema_decay": 0.9} | changes
    run = tiny_run(
        "resnet20_cifar",
        RESNET,
        parallel__mode=mode,
        parallel__layout=layout,
        norm__kind=kind,
        seeds__count=seeds,
        data__num_train=40,
        data__image_size=6,
        schedule__learning_rate=0.05,
        **SETTINGS.get(kind, {}),
        **changes,
    )
    model = SmallNet(run.model.norm, run.dataset.num_classes)
    declared = abstract_variables(model, run.dataset.image_shape)
    return dataclasses.replace(run, model=model, declared=declared)


def of_groups(size, *where, **changes):
    return small_run("batch", *where, norm__examples_per_statistic=size, **changes)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        # The norm whose statistics need other devices stands for all.
        (kind, mode) if kind == "batch" else slow(kind, mode)
        for kind in NORMS
        for mode in MODES
    ],
)
def test_every_norm_on_eight_devices(kind, mode):
    assert_close(train(small_run(kind, "data=8", mode)), cached(small_run, kind))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("data", [2, 4])
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow) for kind in NORMS],
)
def test_every_norm_on_fewer_devices(kind, data, mode):
    laid_out = small_run(kind, f"data={data}", mode)
    assert_close(train(laid_out), cached(small_run, kind))


@pytest.mark.slow
@pytest.mark.parametrize("mode", slow_but(["shard_map"], MODES))
@pytest.mark.parametrize(
    ("size", "data"),
    [(4, 8), *(slow(*case) for case in ((2, 2), (2, 8), (4, 4), (8, 4), (8, 8)))],
)
def test_ghost_batches_within_and_across_devices(size, data, mode):
    """With 16 images on 8 devices, groups of 4 and 8 take two and four devices."""
    laid_out = of_groups(size, f"data={data}", mode)
    assert_close(train(laid_out), cached(of_groups, size))


def test_the_comparisons_see_other_statistics():
    """What a change from global to per-device statistics would do."""
    whole, halves = cached(small_run, "batch"), cached(of_groups, 8)
    assert largest_difference(whole, halves) > 100 * CLOSE["atol"]


@pytest.mark.parametrize("layout", [slow("seed=2"), "seed=4"])
@pytest.mark.parametrize("mode", slow_but(["jit"], MODES))
def test_seeds_over_devices_are_bit_for_bit_those_of_one_device(mode, layout):
    """No sum is taken in another order."""
    alone = cached(small_run, "batch", "seed=1", "jit", 4)
    assert_equal(train(small_run("batch", layout, mode, 4)), alone)


@pytest.mark.parametrize("mode", slow_but(["shard_map"], MODES))
def test_seeds_and_data_together(mode):
    alone = cached(small_run, "batch", "seed=1", "jit", 4)
    assert_close(train(small_run("batch", "seed=2,data=4", mode, 4)), alone)


@pytest.mark.slow
def test_vectorised_seeds_over_devices():
    alone = cached(small_run, "batch", "seed=1", "jit", 4)
    for mode in ("jit", "shard_map"):
        laid_out = small_run("batch", "seed=2,data=2", mode, 4, train__seed_mode="vmap")
        assert_close(train(laid_out), alone)


@pytest.mark.slow
def test_sharded_state_is_the_same_and_lies_in_pieces(monkeypatch):
    monkeypatch.setattr("cnnjax.devices.parallel.SMALLEST_SHARDED", 8)
    run = small_run("batch", "data=4", parallel__shard_state=True)
    assert_close(train(run), cached(small_run, "batch"))
    kernel = run.parallel.put(np.zeros((1, 3, 3, 4, 8), np.float32))
    assert {shard.data.shape for shard in kernel.addressable_shards} == {
        (1, 3, 3, 4, 2)
    }
    plain = small_run("batch", "data=4").parallel
    assert plain.put(np.zeros((1, 3, 3, 4, 8))).addressable_shards[0].data.size == 288


@pytest.mark.parametrize("mode", ["shard_map", "pmap"])
def test_a_group_that_lies_across_devices_is_refused(mode):
    """Six images a group, four on each of two devices."""
    settings = {"norm__examples_per_statistic": 6, "train__batch_size": 24}
    with pytest.raises(UserError, match="groups of 6 images, with 8 images on each"):
        small_run("batch", "data=3", mode, **settings)


@pytest.mark.slow
def test_a_group_that_lies_across_devices_is_whole_in_one_program():
    settings = {"norm__examples_per_statistic": 6, "train__batch_size": 24}
    in_jit = train(small_run("batch", "data=3", "jit", **settings))
    assert_close(in_jit, train(small_run("batch", **settings)))


# -- random numbers, and micro-batches -------------------------------------------------

NOISE = {
    "augment__crop_pad": 1,
    "augment__flip": True,
    "augment__cutout": 2,
    "augment__mixup_alpha": 0.4,
    "augment__cutmix_alpha": 0.4,
    "augment__resized_crop": 0.5,
    "augment__rotation": 20.0,
    "augment__hue": 0.2,
    "augment__noise": 0.05,
    "augment__erase": 0.5,
    "augment__randaugment": 1,
    "train__ema_decay": 0.9,
    "optimizer__clip_norm": 1.0,
    "train__batch_size": BATCH,
    "data__num_train": 40,
    "data__image_size": 6,
}


def noisy_run(layout="seed=1", mode="jit", microbatches=1):
    return tiny_run(
        arguments={"dropout_rate": 0.3},
        parallel__layout=layout,
        parallel__mode=mode,
        norm__kind="none",
        train__microbatches=microbatches,
        **NOISE,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "microbatches"),
    [slow("jit", 2), slow("shard_map", 1), ("shard_map", 2), slow("pmap", 1)],
)
def test_random_numbers_go_by_the_place_in_the_batch(mode, microbatches):
    laid_out = noisy_run("data=4", mode, microbatches)
    assert_close(train(laid_out), cached(noisy_run))


@pytest.mark.parametrize("kind", ["group", slow("none"), slow("layer")])
def test_microbatches_are_the_batch_where_the_norm_is_of_each_image(kind):
    assert_close(train(small_run(kind, train__microbatches=4)), cached(small_run, kind))


@pytest.mark.parametrize("layout", [slow("seed=1"), "data=2"])
def test_microbatches_are_the_batch_with_ghost_batches_that_fit(layout):
    """Statistics too: each micro-batch moves them from where the batch found them."""
    laid_out = of_groups(2, layout, train__microbatches=4)
    assert_close(train(laid_out), cached(of_groups, 2))


def test_microbatches_refuse_statistics_beyond_them():
    words = "groups of 16 images cannot be computed in micro-batches of 8 images"
    with pytest.raises(UserError, match=words):
        small_run(train__microbatches=2)
    with pytest.raises(UserError, match="micro-batches of 2 images on each device"):
        of_groups(4, "data=4", train__microbatches=2)


# -- placing ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_what_is_put_comes_back(mode):
    parallel = Parallel(mode, Layout(2, 4))
    tree = {"a": np.arange(24.0).reshape(4, 6), "b": np.arange(4, dtype=np.int32)}
    assert_equal(parallel.to_host(parallel.put(tree)), tree)


@pytest.mark.parametrize("mode", MODES)
def test_streamed_images_reach_the_device_that_computes_them(mode):
    parallel = Parallel(mode, Layout(2, 4))
    images = np.arange(2 * 3 * 8 * 5, dtype=np.float32).reshape(2, 3, 8, 5)
    weights = np.array([1.0, 10.0], np.float32)

    def function(weight, images):
        return shard().sum(weight * images.sum(1))

    program = parallel.compile(function, (SEEDS, STREAM), (weights, images))
    placed = parallel.put(weights), parallel.put(images, STREAM)
    expected = (images * weights[:, None, None, None]).sum(2)
    np.testing.assert_allclose(parallel.to_host(program(*placed)), expected)


def test_outside_of_programs_the_shard_is_the_whole_batch():
    with computing(WHOLE):
        assert WHOLE.local(np.arange(3)).tolist() == [0, 1, 2]
    assert WHOLE.num_shards == 1
