"""Scanned blocks against the same blocks one by one, in float64."""

import functools
import math

import jax
import numpy as np
import pytest
from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.layers.dropout import Dropout, random_key
from cnnjax.models.registry import create_model
from cnnjax.net.forward import forward_eval, forward_train
from cnnjax.net.initialize import abstract_variables, init_variables
from tests.slow import slow, slow_but

DEPTH, WIDTHS, SHAPE = 14, (4, 6), (8, 8, 1)  # three blocks a stage
ONE_STAGE = {"depth": 8, "widths": (4,)}  # of three blocks
GRAMMARS = [
    {"placement": "post"},
    {"placement": "pre", "act": "tanh", **ONE_STAGE},
    {"block": "bottleneck", "shortcut": "C", **ONE_STAGE, "depth": 11},
    # Random numbers, too, are those of the block, not of the form.
    {"block_dropout_rate": 0.3, "shortcut": "dropout", **ONE_STAGE},
]


def net(**arguments):
    chosen = {"depth": DEPTH, "widths": WIDTHS, "num_classes": 5} | arguments
    return create_model("resnet20_cifar", **chosen)


def variables(model, dtype=np.float32):
    return jax.tree.map(
        lambda leaf: leaf[0].astype(dtype), init_variables(model, SHAPE, (3,))
    )


def stacked(tree):
    """A collection that is stored separately per block, stacked."""
    rest = {k: v for k, v in tree.items() if "block" not in k or k.endswith("block1")}
    stages = {name[: len("stage1")] for name in tree if name.startswith("stage")}
    for stage in stages:
        prefix = f"{stage}_block"
        names = [k for k in tree if k.startswith(prefix) and k != f"{prefix}1"]
        names.sort(key=lambda name: int(name.removeprefix(prefix)))
        rest[f"{prefix}s"] = jax.tree.map(
            lambda *leaves: np.stack(leaves), *[tree[name] for name in names]
        )
    return rest


def assert_close(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11)


def images_of(num):
    return np.random.default_rng(0).normal(size=(num, *SHAPE))


def loss_of(model, state, images):
    def loss(params):
        key = jax.random.key(0)
        logits, _, new = forward_train(model, params, state, images, key)
        return (logits**2).mean(), (logits, new)

    return loss


def outcome(model, tree):
    """Gradient, logits and new statistics of a training step; logits after it."""
    state = {"batch_stats": tree["batch_stats"]}
    images = images_of(6)

    @jax.jit
    def run(params):
        loss = loss_of(model, state, images)
        gradient, (logits, new) = jax.grad(loss, has_aux=True)(params)
        return gradient, logits, new, forward_eval(model, params, new, images)

    return run(tree["params"])


@pytest.mark.parametrize("grammar", slow_but(GRAMMARS[3:4], GRAMMARS))
def test_same_start_logits_gradients_and_statistics(grammar):
    with jax.enable_x64():
        written, scanned = (
            net(dtype="float64", scan_blocks=scan, **grammar) for scan in (False, True)
        )
        start, stack = (variables(each, np.float64) for each in (written, scanned))
        for collection, tree in start.items():
            jax.tree.map(
                np.testing.assert_array_equal, stacked(tree), stack[collection]
            )
        of_written, of_scanned = outcome(written, start), outcome(scanned, stack)
    assert_close(stacked(of_written[0]), of_scanned[0])
    assert_close(of_written[1], of_scanned[1])
    assert_close(stacked(of_written[2]["batch_stats"]), of_scanned[2]["batch_stats"])
    assert_close(of_written[3], of_scanned[3])


def test_every_block_drops_out_by_itself():
    scanned = net(shortcut="dropout", scan_blocks=True, **ONE_STAGE)
    tree = variables(scanned)
    state = {"batch_stats": tree["batch_stats"]}
    images = np.ones((2, *SHAPE), np.float32)

    @jax.jit
    def logits(key):
        return forward_train(scanned, tree["params"], state, images, key)[0]

    first, again, other = map(logits, map(jax.random.key, (0, 0, 1)))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_keys_of_modules_differ():
    """Blocks, layers within a block, and steps each have their own."""
    seen = []

    def watch(call, args, kwargs, context):
        if isinstance(context.module, Dropout) and context.module.rate:
            seen.append(jax.random.key_data(random_key(context.module)).tolist())
        return call(*args, **kwargs)

    model = net(block_dropout_rate=0.3, shortcut="dropout", **ONE_STAGE)
    tree = variables(model)
    state = {"batch_stats": tree["batch_stats"]}
    for step in (0, 1):
        with nn.intercept_methods(watch):
            key = jax.random.key(step)
            forward_train(model, tree["params"], state, images_of(2), key)
    assert len(seen) == len({tuple(key) for key in seen}) == 2 * 3 * 2


REMAT = [
    {"scan_blocks": True, "block_dropout_rate": 0.3},
    {"scan_blocks": False, "stochastic_depth_rate": 0.4},
]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", slow_but(REMAT[:1], REMAT))
def test_rematerialised_blocks_and_stages_change_nothing(arguments):
    with jax.enable_x64():
        kept, *others = (
            net(dtype="float64", remat=remat, **ONE_STAGE, **arguments)
            for remat in ("none", "block", "stage")
        )
        tree = variables(kept, np.float64)
        expected = outcome(kept, tree)
        got = [outcome(other, tree) for other in others]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14)
    for other in got:
        assert jax.tree.structure(other) == jax.tree.structure(expected)
        jax.tree.map(close, other, expected)


FAMILIES = {
    "resnet18": {"num_blocks": (1, 2), "widths": (4, 6), "stem_width": 4},
    "wide_resnet28_10": {"depth": 16, "widen_factor": 1},
}


@pytest.mark.parametrize("name", slow_but(["resnet18"], FAMILIES))
@pytest.mark.parametrize("scan", [False, True])
def test_every_family_with_blocks_can(name, scan):
    """Without compiling: the arguments reach the blocks, and the traces agree."""
    shapes = []
    for remat in ("none", "block", "stage"):
        model = create_model(
            name, num_classes=5, scan_blocks=scan, remat=remat, **FAMILIES[name]
        )
        tree = jax.eval_shape(
            lambda m=model: m.init(
                jax.random.key(0), np.zeros((1, 32, 32, 3)), train=False
            )
        )
        tree = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree)
        loss = loss_of(
            model,
            {c: tree[c] for c in tree if c != "params"},
            np.zeros((2, 32, 32, 3), np.float32),
        )
        traced = jax.make_jaxpr(jax.grad(loss, has_aux=True))(tree["params"])
        shapes.append([out.aval.shape for out in traced.jaxpr.outvars])
        assert ("remat" in str(traced)) == (remat != "none")
    assert shapes[0] == shapes[1] == shapes[2]


def test_wrong_rematerialisation():
    sentence = r"unknown rematerialisation 'blocks': did you mean 'block'.*model.remat"
    with pytest.raises(UserError, match=sentence):
        abstract_variables(net(remat="blocks"), SHAPE)


@pytest.mark.parametrize("scan", [slow(False), True])
def test_what_is_rematerialised_keeps_only_its_input(scan):
    """What the forward pass hands to the backward one, on any platform."""

    def kept(remat):
        model = net(scan_blocks=scan, remat=remat, depth=26, widths=(4, 4))
        tree = variables(model)
        state = {"batch_stats": tree["batch_stats"]}
        loss = loss_of(model, state, np.zeros((6, *SHAPE), np.float32))
        pull = jax.eval_shape(
            lambda p: jax.vjp(loss, p, has_aux=True)[1], tree["params"]
        )
        return [leaf.shape for leaf in jax.tree.leaves(pull)]

    def maps(shapes):
        """Feature maps of the first stage, whose six blocks stand for all."""
        return sum(
            math.prod(shape) for shape in shapes if shape[-4:] == (6, 8, 8, 4)
        ) / (6 * 8 * 8 * 4)

    # The input of each block or stage, and what stem and the last activation keep.
    assert maps(kept("stage")) <= 1 + 4
    assert 6 < maps(kept("block")) <= 6 + 4
    assert maps(kept("none")) >= 6 * 4


def temporary_bytes(compiler_options=None, **arguments):
    """Of the compiled gradient."""
    model = net(widths=(8, 8), **arguments)
    tree = variables(model)
    state = {"batch_stats": tree["batch_stats"]}
    loss = loss_of(model, state, np.zeros((32, *SHAPE), np.float32))
    gradient = jax.jit(jax.grad(loss, has_aux=True)).lower(tree["params"])
    compiled = gradient.compile(compiler_options=compiler_options)
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_rematerialised_scans_take_less_memory():
    kept, again = (
        temporary_bytes(scan_blocks=True, remat=remat, depth=30)
        for remat in ("none", "block")
    )
    assert again < 0.7 * kept


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="names a pass of XLA on CPU")
@pytest.mark.slow
def test_rematerialisation_takes_less_memory_where_barriers_hold():
    """XLA on CPU drops them unless told otherwise, and computes nothing twice."""
    held = {"xla_disable_hlo_passes": "cse_barrier_expander"}
    kept, block, stage = (
        temporary_bytes(held, scan_blocks=False, remat=remat, depth=14)
        for remat in ("none", "block", "stage")
    )
    assert block < 0.5 * kept
    assert stage < 0.9 * kept  # the first of two stages has four fifths of the values


def test_compiled_program_does_not_grow_with_depth():
    def size(depth):
        scanned = net(depth=depth, scan_blocks=True)
        tree = init_variables(scanned, SHAPE, (0,))
        one = jax.tree.map(lambda leaf: leaf[0], tree)
        images = np.ones((2, *SHAPE), np.float32)
        lowered = jax.jit(lambda p, s, x: forward_eval(scanned, p, s, x)).lower(
            one["params"], {"batch_stats": one["batch_stats"]}, images
        )
        return len(lowered.as_text().splitlines())

    assert size(30) == size(14)


def test_stages_of_many_blocks_are_scanned_by_default():
    """Stage 3 of ResNet-101 has 22 equal blocks behind its first, the others few."""
    declared = abstract_variables(create_model("resnet101"), (64, 64, 3))["params"]
    assert {"stage2_block4", "stage3_block1", "stage3_blocks"} <= declared.keys()
    assert not {"stage2_blocks", "stage3_block2", "stage4_blocks"} & declared.keys()
    # Each block may have a dropping rate of its own: then nothing is scanned.
    dropping = net(depth=58, stochastic_depth_rate=0.1)
    assert "stage1_block14" in abstract_variables(dropping, SHAPE)["params"]
    sentence = r"scan_blocks takes True, False or None, not 1"
    with pytest.raises(UserError, match=sentence):
        create_model("resnet50", scan_blocks=1)
