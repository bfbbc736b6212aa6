"""The public CIFAR-10 ports, against their recorded outputs.

`record_ports.py` made the records, from the ports' own code. With CNNJAX_REAL_DATA the
published weights are loaded, too.
"""

import json
import os
import pathlib

import jax
import numpy as np
import pytest

from cnnjax import interop
from cnnjax.errors import UserError
from cnnjax.models.registry import create_model
from cnnjax.net.forward import forward_eval, forward_train
from cnnjax.training.loss import cross_entropy
from tests.interop.seeded import (
    projection,
    seeded_images,
    seeded_labels,
    seeded_weights,
)
from tests.interop.small_weights import drawn, same
from tests.slow import slow

RECORDED = pathlib.Path(__file__).parent / "recorded"
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
# Record -> our net.
NETS = {
    "resnet20": ("resnet20_cifar", {}),
    "resnet8": ("resnet20_cifar", {"depth": 8}),
    "resnet8_B": ("resnet20_cifar", {"depth": 8, "shortcut": "B"}),
    "bottleneck14": (
        "resnet20_cifar",
        {
            "depth": 14,
            "block": "bottleneck",
            "widths": (64, 128, 256, 512),
            "shortcut": "B",
            "stride_on_3x3": True,
        },
    ),
    "vgg11": ("vgg11_bn_cifar", {}),
}
NORMALISED = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def recorded(name):
    return json.loads((RECORDED / f"{name}.json").read_text())


def logits_of(name, variables, images, **overrides):
    """Evaluates in float64."""
    with jax.enable_x64(True):
        net = create_model(name, dtype="float64", **overrides)
        params = variables["params"]
        state = {"batch_stats": variables["batch_stats"]}
        run = jax.jit(lambda p, s, x: forward_eval(net, p, s, x))
        return np.asarray(run(params, state, images))


@pytest.mark.parametrize(
    ("record", "more"),
    [
        ("resnet20", {"scan_blocks": True}),
        ("resnet8_B", {}),
        *(slow(record, {}) for record in NETS if record != "resnet8_B"),
    ],
)
def test_logits_of_the_port_and_the_way_back(record, more):
    name, overrides = NETS[record]
    overrides = overrides | more
    port = recorded(record)
    weights = seeded_weights(port["shapes"])
    ours = interop.from_torch(name, weights, source="cifar", **overrides)
    images = seeded_images(len(port["logits"]), port["size"])
    logits = logits_of(name, ours, images, **overrides)
    assert np.abs(port["logits"]).max() > 0.1
    np.testing.assert_allclose(logits, port["logits"], **CLOSE)
    back = interop.to_torch(name, ours, source="cifar", **overrides)
    same({key: back[key] for key in weights}, weights)
    assert all(key.endswith("num_batches_tracked") for key in back.keys() - weights)


@pytest.mark.slow
def test_training_of_the_port():
    """Gradients are converted like weights, including the order of the channels."""
    name, overrides = NETS["resnet8"]
    port = recorded("resnet8")
    labels = seeded_labels(4)

    def loss(params, state, images):
        logits, _, state = forward_train(net, params, state, images, jax.random.key(0))
        targets = jax.nn.one_hot(labels, 10, dtype=logits.dtype)
        return cross_entropy(logits, targets).mean(), state

    weights = seeded_weights(port["shapes"])
    variables = interop.from_torch(name, weights, source="cifar", **overrides)
    with jax.enable_x64(True):
        net = create_model(name, dtype="float64", **overrides)
        run = jax.jit(jax.value_and_grad(loss, has_aux=True))
        state = {"batch_stats": variables["batch_stats"]}
        (ours, state), grads = run(
            variables["params"], state, seeded_images(4, port["size"])
        )
    theirs = port["training"]
    np.testing.assert_allclose(ours, theirs["loss"], **CLOSE)
    moved = {"params": grads, **state}
    back = interop.to_torch(name, moved, source="cifar", **overrides)
    for key, number in (theirs["gradients"] | theirs["statistics"]).items():
        np.testing.assert_allclose(
            projection(key, back[key]), number, rtol=1e-8, atol=1e-8, err_msg=key
        )


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        slow({"placement": "pre"}),
        slow({"base_width": 32}),
        slow({"widths": (6, 12, 24)}),
    ],
)
def test_a_port_that_pads_behind_has_another_source(overrides):
    """The same names without a permutation; 'cifar' gives the permuted net."""
    name = "resnet20_cifar"
    arguments = {"depth": 8, **overrides}
    ours = drawn(name, **arguments)
    back = interop.to_torch(name, ours, source="cifar_append", **arguments)
    kernel = ours["params"]["stage3_block1"]["conv1"]["kernel"]
    np.testing.assert_array_equal(
        back["layer3.0.conv1.weight"], kernel.transpose(3, 2, 0, 1)
    )
    same(interop.from_torch(name, back, source="cifar_append", **arguments), ours)
    other = interop.to_torch(name, ours, source="cifar", **arguments)
    same(interop.from_torch(name, other, source="cifar", **arguments), ours)
    assert np.abs(other["linear.weight"] - back["linear.weight"]).max() > 0


def test_where_the_channels_of_the_port_go():
    """With zeros on both sides: the copied channels come first in our order."""
    head = np.zeros((10, 64))
    head[0] = np.arange(64)
    weights = interop.to_torch("resnet20_cifar", drawn("resnet20_cifar"), "cifar")
    weights["linear.weight"] = head
    ours = interop.from_torch("resnet20_cifar", weights, source="cifar")
    # 16 channels, padded by 8 and 8 to 32, padded by 16 and 16 to 64.
    first, second = range(24, 40), [*range(16, 24), *range(40, 48)]
    third = [*range(16), *range(48, 64)]
    order = ours["params"]["head"]["kernel"][:, 0]
    np.testing.assert_array_equal(order, [*first, *second, *third])


@pytest.mark.parametrize(
    ("name", "overrides", "sentence"),
    [
        ("resnet20_cifar", {"widths": (3, 6, 12)}, "from 3 to 6 channels.*6 // 4"),
        ("resnet20_cifar", {"widths": (16, 16, 32)}, "from 16 to 16.*'cifar_append'"),
        ("resnet20_cifar", {"widths": (16, 64, 128)}, "from 16 to 64 channels"),
        (
            "resnet20_cifar",
            {"block": "bottleneck"},
            "stride_on_3x3=False.*allowed is True",
        ),
        (
            "resnet20_cifar",
            {"depth": 11, "block": "bottleneck", "stride_on_3x3": True},
            "from 16 to 64 channels",
        ),
        ("resnet20_cifar", {"placement": "act_before_add"}, "'post' or 'pre'"),
        ("resnet20_cifar", {"shortcut": "scaled"}, "'A' or 'B' or 'C'"),
        ("resnet20_cifar", {"act": "silu"}, "act is silu here and relu there"),
        ("plain20_cifar", {}, "this net has none"),
        ("vgg11_bn", {"dense_widths": (4, 4)}, "no hidden dense"),
    ],
)
def test_nets_that_the_port_has_not(name, overrides, sentence):
    """The port itself fails at these widths, or computes another function."""
    with pytest.raises(UserError, match=sentence):
        interop.from_torch(name, {}, source="cifar", **overrides)


def real_files():
    folder = os.environ.get("CNNJAX_REAL_DATA", "")
    return sorted(pathlib.Path(folder).glob("resnet*-*.th")) if folder else []


@pytest.fixture(scope="module")
def real_images():
    """Images as the port's own evaluation prepares them, and labels."""
    folder = pathlib.Path(os.environ["CNNJAX_REAL_DATA"])
    with np.load(folder / "cifar10_test_1017.npz") as test:
        images, labels = test["image"].astype(np.float64) / 255, test["label"]
    return (images - NORMALISED["mean"]) / NORMALISED["std"], labels


needs_real_data = pytest.mark.skipif(
    not real_files(), reason="CNNJAX_REAL_DATA names no folder with published weights"
)


@needs_real_data
@pytest.mark.parametrize("path", real_files(), ids=lambda path: path.stem)
def test_published_weights(path, real_images):
    """The recorded predictions of the port, and its logits where recorded."""
    pytest.importorskip("torch", reason="reads files of torch: extra `peers`")
    depth = path.stem.partition("-")[0]
    name, (images, labels) = f"{depth}_cifar", real_images
    ours = interop.load(name, path, source="cifar")
    net = create_model(name)
    run = jax.jit(lambda x: net.apply(ours, x, train=False))
    right = run(images.astype(np.float32)).argmax(1) == labels
    expected = path.with_name(f"{depth}_logits_float64.npy")
    if expected.exists():
        theirs = np.load(expected)
        assert right.sum() == (theirs.argmax(1) == labels).sum()
        np.testing.assert_allclose(
            logits_of(name, ours, images[:16]), theirs[:16], **CLOSE
        )
    assert right.mean() > 0.9


@needs_real_data
@pytest.mark.slow
def test_published_weights_in_scanned_blocks(real_images):
    pytest.importorskip("torch", reason="reads files of torch: extra `peers`")
    folder = pathlib.Path(os.environ["CNNJAX_REAL_DATA"])
    name, path = "resnet20_cifar", folder / "resnet20-12fca82f.th"
    ours = interop.load(name, path, source="cifar", scan_blocks=True)
    logits = logits_of(name, ours, real_images[0][:32], scan_blocks=True)
    expected = np.load(folder / "resnet20_logits_float64.npy")[:32]
    np.testing.assert_allclose(logits, expected, **CLOSE)
    back = interop.to_torch(name, ours, source="cifar", scan_blocks=True)
    same(interop.from_torch(name, back, "cifar", scan_blocks=True), ours)
