"""A net without one of its blocks, against nets that really have it no more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.net.forward import forward_eval
from cnnjax.net.parts import blocks_of, forward_without
from cnnjax.net.stacked import stack, stacks_of_net
from cnnjax.probes import PROBES
from tests.probes.cases import (
    IMAGE_SHAPE,
    errors_of,
    make_images,
    make_net,
    make_subject,
    preprocess,
)
from tests.slow import slow

SMALL = {"widths": (4, 6), "stem_width": 4, "scan_blocks": False}


def resnet(**arguments):
    return make_net("resnet18", num_blocks=(3, 2), **(SMALL | arguments))


def logits_without(net, block):
    """Logits of the first batch without the block of that name."""
    blocks = blocks_of(net[0], IMAGE_SHAPE)
    images = preprocess(make_images()[0][0])
    return forward_without(*net, images, blocks.index(block), blocks)


def test_blocks_that_keep_the_shape_in_order():
    names = ("stage1_block1", "stage1_block2", "stage1_block3", "stage2_block2")
    for residual in (True, False):
        assert blocks_of(resnet(residual=residual)[0], IMAGE_SHAPE) == names
    assert blocks_of(resnet(block="bottleneck")[0], IMAGE_SHAPE) == names[1:]
    assert blocks_of(make_net("mlp", norm="none")[0], IMAGE_SHAPE) == ()


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [{"residual": False}, {}])
@pytest.mark.parametrize(
    "norm", ["layer", pytest.param("batch", marks=pytest.mark.slow)]
)
def test_it_is_the_net_that_has_one_block_less(arguments, norm):
    """In front of a block is a rectifier: behind the sum it changes nothing more."""
    net = resnet(norm=norm, **arguments)
    smaller, *_ = make_net("resnet18", norm, num_blocks=(2, 2), **(SMALL | arguments))

    def removed(tree):
        tree = dict(tree)
        del tree["stage1_block2"]
        tree["stage1_block2"] = tree.pop("stage1_block3")
        return tree

    weights = [removed(net[1]), {c: removed(tree) for c, tree in net[2].items()}]
    want = forward_eval(smaller, *weights, preprocess(make_images()[0][0]))
    np.testing.assert_allclose(
        logits_without(net, "stage1_block2"), want, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"placement": "pre"},
        slow({"placement": "norm_after_add"}),
        slow({"placement": "act_before_add"}),
        {"placement": "pre", "block": "bottleneck"},
        slow({"shortcut": "exclusive_gate", "gate_bias": 0.0}),
        {"shortcut": "C"},
        slow({"squeeze_excite": True, "se_reduction": 2}),
    ],
    ids=str,
)
def test_the_branch_adds_zero(arguments):
    """A branch whose last convolution and norm are zero adds nothing."""
    net = resnet(**arguments)
    model, params, model_state = net
    block = dict(params["stage1_block2"])
    last = max(name[-1] for name in block if name.startswith("conv"))
    for name in block.keys() & {f"conv{last}", f"norm{last}"}:
        block[name] = {leaf: jnp.zeros_like(x) for leaf, x in block[name].items()}
    silent = params | {"stage1_block2": block}
    images = preprocess(make_images()[0][0])
    want = forward_eval(model, silent, model_state, images)
    got = logits_without(net, "stage1_block2")
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert np.abs(got - forward_eval(*net, images)).max() > 1e-2


@pytest.mark.parametrize(
    "scan_blocks", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_profile_has_the_errors_without_each_block(scan_blocks):
    model, params, model_state = resnet()
    blocks = blocks_of(model, IMAGE_SHAPE)
    images, labels, mask = make_images()

    def error(block):
        of_batches = [
            forward_without(
                model, params, model_state, preprocess(batch), block, blocks
            )
            for batch in images
        ]
        return errors_of(np.stack(of_batches), labels, mask)

    *without, whole = [error(i) for i in range(len(blocks) + 1)]
    executed = model.clone(scan_blocks=scan_blocks)
    weights = stack((params, model_state), stacks_of_net(executed, IMAGE_SHAPE))
    subject = make_subject(executed)
    seen = jax.jit(PROBES["lesion"].measure(subject))(
        *weights, *map(jnp.asarray, make_images())
    )
    record = PROBES["lesion"].report(subject, {"end": seen})
    assert record["error"] == pytest.approx(whole)
    assert record["increase"] == pytest.approx(np.mean(without) - whole, abs=1e-4)
    profile = record["profiles"][""]
    assert profile["labels"] == ["none", *blocks]
    assert profile["positions"] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(profile["values"], [whole, *without], rtol=1e-5)
    assert len(set(profile["values"])) > 1
