"""Evaluation against NumPy, every example exactly once; precise statistics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnjax.data.order import chunk_indices
from cnnjax.layers.norm import Norm
from cnnjax.models.registry import create_model
from cnnjax.net.forward import forward_eval, forward_train
from cnnjax.net.initialize import init_variables
from cnnjax.records import from_line, to_line
from cnnjax.run.delivery import resident_batch, resident_batches, split_batches
from cnnjax.training.evaluate import (
    divide,
    make_evaluation,
    make_reestimation,
    no_sums,
)
from cnnjax.training.state import stream_key

NUM, CLASSES = 23, 7
STREAM = np.random.RandomState(0)
# "Images" that are their own logits, with ties, so that every figure is known.
LOGITS = STREAM.randint(0, 6, (NUM, 1, 1, CLASSES)).astype(np.uint8)
LABELS = STREAM.randint(0, CLASSES, NUM).astype(np.int32)


class Mirror(nn.Module):
    """Its images are its logits, plus a parameter."""

    def __call__(self, images, *, train):
        assert not train
        return images[:, 0, 0] + self.variables["params"]["shift"][None]


def evaluate(logits, labels, batch_size, shift=0.0, offset=0):
    num_classes = logits.shape[-1]
    run = make_evaluation(
        Mirror(), lambda x: x.astype(jnp.float32), num_classes, resident_batch
    )
    data = {"images": logits, "labels": labels}
    sizes = {"other": offset, "split": len(labels) - offset}
    sizes = sizes if offset else {"split": len(labels)}
    *batches, num_batches = split_batches(sizes, batch_size)["split"]
    params = {"shift": jnp.full(num_classes, shift)}
    zero = jax.tree.map(lambda leaf: leaf[0], no_sums(1, num_classes))
    sums = jax.jit(run)(params, {}, zero, num_batches, data, *batches)
    return divide(jax.device_get(sums))


def by_hand(logits, labels):
    logits = logits[:, 0, 0].astype(float)
    log_sum = np.log(np.exp(logits).sum(-1))
    own = logits[np.arange(len(labels)), labels]
    order = np.argsort(-logits, axis=-1, kind="stable")  # ties: the lower class first
    right = order[:, 0] == labels
    in_five = (order[:, :5] == labels[:, None]).any(-1)
    return {
        "count": len(labels),
        "loss": (log_sum - own).mean(),
        "error": 100 * (1 - right.mean()),
        "top5_error": 100 * (1 - in_five.mean()),
        "per_class_accuracy": [
            100 * right[labels == c].mean() if (labels == c).any() else None
            for c in range(logits.shape[-1])
        ],
    }


def assert_close(row, expected):
    assert row.keys() == expected.keys()
    for name, value in expected.items():
        # Sums of float32; accuracies are rounded to 4 decimals. None becomes NaN.
        got, value = np.array(row[name], float), np.array(value, float)
        np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("batch_size", [1, 7, 22, NUM, 64])
def test_every_example_counts_once_whatever_the_batch_size(batch_size):
    row = evaluate(LOGITS, LABELS, batch_size)
    assert 0 < row["top5_error"] < row["error"] < 100
    assert_close(row, by_hand(LOGITS, LABELS))


def test_a_split_behind_another_one_is_its_own():
    assert_close(
        evaluate(LOGITS, LABELS, 8, offset=10), by_hand(LOGITS[10:], LABELS[10:])
    )


def test_a_class_that_is_not_in_the_split_has_no_accuracy():
    """0 for one that is there and always missed; null in JSON for one that is not."""
    there = LABELS != 4
    row = evaluate(LOGITS[there], LABELS[there], 8)
    absent = [c for c, value in enumerate(row["per_class_accuracy"]) if value is None]
    assert absent == sorted({*range(CLASSES)} - {*LABELS[there].tolist()})
    assert 4 in absent
    assert_close(row, by_hand(LOGITS[there], LABELS[there]))
    missed = evaluate(np.zeros_like(LOGITS), np.full(NUM, 2, np.int32), 8)
    assert missed["per_class_accuracy"] == [None, None, 0.0, None, None, None, None]
    assert from_line(to_line(missed)) == missed


def test_batches_of_all_splits_have_one_shape_and_cover_each_once():
    sizes = {"train": 20, "validation": 0, "test": 7}
    batches = split_batches(sizes, 8)
    first = 0
    for split, size in sizes.items():
        indices, mask, num_batches = batches[split]
        assert indices.shape == mask.shape == (3, 8)
        assert num_batches == -(-size // 8)
        used = indices[:num_batches][mask[:num_batches] > 0]
        assert sorted(used) == list(range(first, first + size))
        assert not mask[num_batches:].any()
        first += size


def test_an_empty_split_has_no_figures():
    sums = {"count": 0.0, "class_count": np.zeros(3), "class_correct": np.zeros(3)}
    assert divide(sums) == {
        "count": 0,
        "loss": None,
        "error": None,
        "top5_error": None,
    }


def test_fewer_than_five_classes_are_never_outside_the_top_five():
    logits, labels = LOGITS[..., :3], LABELS % 3
    row = evaluate(logits, labels, 8)
    assert row["top5_error"] == 0
    assert_close(row, by_hand(logits, labels))


@pytest.mark.parametrize("shift", [np.nan, np.inf, -np.inf])
def test_a_broken_net_is_never_right(shift):
    row = evaluate(LOGITS, LABELS, 8, shift)
    assert row["error"] == row["top5_error"] == 100
    assert row["per_class_accuracy"] == [0] * CLASSES
    assert not np.isfinite(row["loss"])


def test_precise_statistics_are_those_of_the_batches():
    """Mean of the means, and of the second moments about it, over 3 batches of 8."""
    model = create_model("mlp", widths=(6,), num_classes=3, norm=Norm("batch"))
    variables = init_variables(model, (2, 2, 1), (0,))
    variables = jax.tree.map(lambda leaf: leaf[0], variables)
    params = variables.pop("params")
    images = STREAM.randint(0, 255, (20, 2, 2, 1)).astype(np.uint8)
    data = {"images": images, "labels": np.zeros(20, np.int32)}

    def augment(key, images, labels):
        return images / jnp.float32(255), jax.nn.one_hot(labels, 3)

    reestimate = make_reestimation(
        model,
        augment,
        resident_batches(8, 20),
        batch_size=8,
        max_steps=3,
    )
    # What stands there before the first batch does not count; in one call or in two.
    before = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), variables)
    program, got = jax.jit(reestimate), {}
    for calls in ((0, 3),), ((0, 1), (1, 2)):
        moments = before["batch_stats"]
        for first, num in calls:
            moments, got[calls] = program(
                params, variables, moments, data, np.int32(1), first, num
            )
    got, in_two = got.values()
    jax.tree.map(np.testing.assert_array_equal, got, in_two)
    order = np.asarray(chunk_indices(stream_key(1, "shuffle"), 0, 3, 8, 20))
    x = images.reshape(20, 4)[order] / 255.0  # [3, 8, 4]
    hidden = x @ params["dense1"]["kernel"].astype(float)  # [3, 8, 6]
    means, variances = hidden.mean(1), hidden.var(1, ddof=1)
    stats = got["batch_stats"]["norm1"]
    np.testing.assert_allclose(stats["mean"], means.mean(0), rtol=1e-4, atol=1e-6)
    expected = (variances + means**2).mean(0) - means.mean(0) ** 2
    np.testing.assert_allclose(stats["var"], expected, rtol=1e-4)
    assert jax.tree.structure(got) == jax.tree.structure(variables)


def precise_statistics(images):
    """Of a net with one hidden layer, for images [20, 2, 2, 1] as they are; float64."""
    model = create_model("mlp", widths=(6,), num_classes=3, norm=Norm("batch"))
    variables = init_variables(model, (2, 2, 1), (0,))
    variables = jax.tree.map(lambda leaf: leaf[0], variables)
    params = variables.pop("params")
    reestimate = make_reestimation(
        model,
        lambda key, images, labels: (images, jax.nn.one_hot(labels, 3)),
        resident_batches(8, 20),
        batch_size=8,
        max_steps=3,
    )
    data = {"images": images.astype(np.float32), "labels": np.zeros(20, np.int32)}
    stats = variables["batch_stats"]
    _, got = jax.jit(reestimate)(params, variables, stats, data, np.int32(1), 0, 3)
    order = np.asarray(chunk_indices(stream_key(1, "shuffle"), 0, 3, 8, 20))
    x = images.reshape(20, 4)[order]
    return got["batch_stats"]["norm1"], x @ params["dense1"]["kernel"].astype(float)


@pytest.mark.parametrize("grey", [0.0, 1 / 3, 211 / 255, 1e4])
def test_constant_images_have_no_variance(grey):
    """Mean square less squared mean gave some -1e-7 of the squared mean here."""
    stats, hidden = precise_statistics(np.full((20, 2, 2, 1), grey))
    np.testing.assert_allclose(stats["mean"], hidden.mean((0, 1)), rtol=1e-5)
    assert np.all(stats["var"] >= 0)
    # A rounding of the mean, squared.
    assert np.all(stats["var"] <= (1e-6 * np.abs(stats["mean"])) ** 2)


def test_a_large_mean_does_not_drown_the_variance():
    """Means of some hundred standard deviations, which moreover differ by batch."""
    images = 300 + STREAM.randn(20, 2, 2, 1)
    stats, hidden = precise_statistics(images)
    means, variances = hidden.mean(1), hidden.var(1, ddof=1)
    want = variances.mean(0) + means.var(0)
    np.testing.assert_allclose(stats["var"], want, rtol=1e-3)


def test_precise_statistics_leave_other_norms_alone():
    model = create_model("mlp", widths=(6,), norm="layer")
    reestimate = make_reestimation(
        model, functools.partial, None, batch_size=8, max_steps=3
    )
    assert reestimate({}, {}, {}, None, 0, 0, 3) == ({}, {})


class Linen(nn.Module):
    """A net of someone else, with the batch norm of Flax."""

    @nn.compact
    def __call__(self, images, *, train):
        return nn.BatchNorm(use_running_average=not train)(images[:, 0, 0])


# -- statistics of the evaluation batch ------------------------------------------------


def test_batch_statistics_are_those_of_training_on_the_same_images():
    """Groups do not count, nothing is dropped, and the last batch is filled up."""
    norm = Norm("batch", examples_per_statistic=5)
    model = create_model(
        "convnet_cifar", norm=norm, num_classes=4, widths=(4,), dropout_rate=0.5
    )
    whole = create_model("convnet_cifar", norm="batch", num_classes=4, widths=(4,))
    params, model_state = _moved(init_variables(model, (8, 8, 3), (0,)))
    images = np.random.RandomState(1).randint(0, 256, (10, 8, 8, 3)).astype(np.uint8)
    labels = np.arange(10, dtype=np.int32) % 4
    *batches, count = split_batches({"test": 10}, 6)["test"]
    run = make_evaluation(model, _floats, 4, resident_batch, batch_statistics=True)
    zero = jax.tree.map(lambda leaf: leaf[0], no_sums(1, 4))
    data = {"images": images, "labels": labels}
    sums = jax.jit(run)(params, model_state, zero, count, data, *batches)

    def logits_of(places):
        x, key = _floats(jnp.asarray(images[places])), jax.random.key(0)
        return forward_train(whole, params, model_state, x, key)[0]

    want = [logits_of([0, 1, 2, 3, 4, 5]), logits_of([6, 7, 8, 9, 0, 1])[:4]]
    log_likelihood = jax.nn.log_softmax(jnp.concatenate(want))
    loss = -float(log_likelihood[np.arange(10), labels].mean())
    assert divide(jax.device_get(sums))["loss"] == pytest.approx(loss, rel=1e-4)
    running = forward_eval(model, params, model_state, _floats(images[:6]))
    assert jnp.abs(running - want[0]).max() > 0.1


def _floats(images):
    return images.astype(jnp.float32) / 64 - 2


def _moved(variables):
    """Norms that are not fresh: statistics far from those of the images."""
    params = jax.tree.map(lambda leaf: leaf[0] + 0.1, variables.pop("params"))
    return params, jax.tree.map(lambda leaf: 3 * leaf[0] + 0.5, variables)
