"""Responses and gradients by layer, against a net that is written out here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.net.stacked import stack, stacks_of_net
from cnnjax.probes import PROBES
from tests.probes.cases import (
    IMAGE_SHAPE,
    NUM_CLASSES,
    make_images,
    make_net,
    make_subject,
    preprocess,
)

PATHS = ["stage1_conv1/conv", "stage2_conv1/conv"]


def two_layers(params, images):
    """Logits and both convolutions of a net of two, without norm; plain operations."""
    outputs, x = [], images
    for name in ("stage1_conv1", "stage2_conv1"):
        of = params[name]["conv"]
        x = jax.lax.conv_general_dilated(
            x, of["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = x + of["bias"].reshape(1, 1, 1, -1)
        outputs.append(x)
        n, height, width, channels = x.shape
        cells = jnp.maximum(x, 0).reshape(n, height // 2, 2, width // 2, 2, channels)
        x = cells.max((2, 4))
    head = params["head"]
    return x.mean((1, 2)) @ head["kernel"] + head["bias"].reshape(1, -1), outputs


def measured(name, net, moments=("end",)):
    """The record of a probe that sees one batch, the same at each moment."""
    model, *weights = net
    subject, images = make_subject(model), make_images(1, 12)
    seen = jax.jit(PROBES[name].measure(subject))(*weights, *map(jnp.asarray, images))
    return PROBES[name].report(subject, dict.fromkeys(moments, seen))


@pytest.fixture(scope="module")
def convnet():
    return make_net("convnet_cifar", "none", widths=(4, 6), num_convs=1)


def test_responses_are_deviations_of_convolutions(convnet):
    _, outputs = two_layers(convnet[1], preprocess(make_images(1, 12)[0][0]))
    want = [np.std(np.asarray(x, np.float64)) for x in outputs]
    record = measured("layer_responses", convnet)
    profile = record["profiles"][""]
    assert profile["labels"] == PATHS
    np.testing.assert_allclose(profile["values"], want, rtol=1e-4)
    assert record["mean"] == pytest.approx(np.mean(want), rel=1e-4)


def test_responses_are_those_behind_the_norm_where_there_is_one():
    net = make_net("convnet_cifar", "batch", widths=(4, 6), num_convs=1)
    _, params, model_state = net
    plain = {
        name: {"conv": {**params[name]["conv"], "bias": np.zeros(width, np.float32)}}
        for name, width in (("stage1_conv1", 4), ("stage2_conv1", 6))
    }
    images = preprocess(make_images(1, 12)[0][0])
    first = two_layers(plain | {"head": params["head"]}, images)[1][0]
    norm = params["stage1_conv1"]["norm"]
    stats = model_state["batch_stats"]["stage1_conv1"]["norm"]
    normed = (np.asarray(first) - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
    want = np.std(normed * norm["scale"] + norm["bias"])
    values = measured("layer_responses", net)["profiles"][""]["values"]
    assert values[0] == pytest.approx(want, rel=1e-4)


def test_norms_in_front_of_convolutions_do_not_count():
    """There some convolutions have no norm behind them: all are taken as they are."""
    net = make_net("resnet20_cifar", depth=8, widths=(4,), placement="pre")
    model, params, model_state = net
    scaled = jax.tree.map(np.copy, params)
    # The norm behind conv1 lies in front of conv2.
    scaled["stage1_block1"]["norm2"]["scale"] *= 3
    before = measured("layer_responses", net)["profiles"][""]["values"]
    after = measured("layer_responses", (model, scaled, model_state))
    assert after["profiles"][""]["values"][:2] == before[:2]
    assert after["profiles"][""]["values"][2] > 1.5 * before[2]


def test_gradient_norms_are_those_of_the_training_loss(convnet):
    images, labels, _ = make_images(1, 12)

    def loss(kernels):
        params = jax.tree.map(jnp.asarray, convnet[1])
        for path, kernel in zip(PATHS, kernels, strict=True):
            params[path.split("/")[0]]["conv"]["kernel"] = kernel
        logits, _ = two_layers(params, preprocess(images[0]))
        targets = 0.9 * jax.nn.one_hot(labels[0], NUM_CLASSES) + 0.1 / NUM_CLASSES
        return -(targets * jax.nn.log_softmax(logits)).sum(-1).mean()

    gradient = jax.jit(jax.grad(loss))(
        [jnp.asarray(convnet[1][p.split("/")[0]]["conv"]["kernel"]) for p in PATHS]
    )
    want = [np.linalg.norm(np.ravel(g)) for g in gradient]
    record = measured("gradient_norms", convnet, ("start", "middle", "end"))
    titles = ["at initialisation", "half way", "at the end"]
    assert list(record["profiles"]) == titles
    for title in titles:
        assert record["profiles"][title]["labels"] == PATHS
        values = record["profiles"][title]["values"]
        np.testing.assert_allclose(values, want, rtol=1e-4)
    assert record["ratio"] == pytest.approx(np.log10(want[0] / want[1]), abs=1e-4)


@pytest.mark.parametrize(
    "name",
    ["layer_responses", pytest.param("gradient_norms", marks=pytest.mark.slow)],
)
def test_scanned_blocks_are_measured_one_by_one(name):
    small = {"depth": 14, "widths": (4,), "shortcut": "C"}
    model, *weights = make_net("resnet20_cifar", scan_blocks=False, **small)
    scanned = model.clone(scan_blocks=True)
    stacked = stack(tuple(weights), stacks_of_net(scanned, IMAGE_SHAPE))
    moments = PROBES[name].moments
    want = measured(name, (model, *weights), moments)
    got = measured(name, (scanned, *stacked), moments)
    blocks = [f"stage1_block{i}/conv{j}" for i in range(1, 7) for j in (1, 2)]
    for title, profile in want["profiles"].items():
        # Projections lie beside the path.
        assert profile["labels"] == ["stem_conv", *blocks]
        assert got["profiles"][title]["labels"] == profile["labels"]
        values = got["profiles"][title]["values"]
        np.testing.assert_allclose(values, profile["values"], rtol=1e-3)
