"""The residual family: every combination of the grammar, plain twins, depths."""

import itertools

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from cnnjax.errors import UserError
from cnnjax.layers.init import Declared, ones, zeros
from cnnjax.layers.norm import Norm
from cnnjax.models.blocks.residual import PLACEMENTS
from cnnjax.models.blocks.shortcut import SHORTCUTS
from cnnjax.models.registry import create_model
from cnnjax.net.forward import forward_eval
from cnnjax.net.initialize import abstract_variables, init_variables, num_params
from tests.slow import slow_but

# Two stages of two blocks: one block that keeps the shape and one that changes it.
SHALLOW = {"basic": 10, "bottleneck": 14}
FREE = ("A", "none", "scaled", "dropout")  # shortcuts without parameters
INPUT = (4, 4, 3)


def small_net(block="basic", **arguments):
    arguments = {"depth": SHALLOW.get(block, 10), "widths": (4, 8)} | arguments
    return create_model("resnet20_cifar", block=block, **arguments)


def declared(model):
    """Path -> (shape, initializer) of every parameter."""
    params = abstract_variables(model, INPUT)["params"]
    flat = flatten_dict(
        params, sep="/", is_leaf=lambda _, leaf: isinstance(leaf, Declared)
    )
    return {path: (leaf.value.shape, leaf.initializer) for path, leaf in flat.items()}


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("block", slow_but(["basic"], SHALLOW))
def test_every_shortcut_has_the_tree_it_should(block, placement):
    plain = declared(small_net(block, placement=placement, residual=False))
    changed = {"stage2_block1"} | (
        {"stage1_block1"} if block == "bottleneck" else set()
    )
    every = {f"stage{s}_block{b}" for s, b in itertools.product((1, 2), repeat=2)}
    projecting = {"B": changed, "C": every}
    leaves = ["conv/kernel", "norm/scale", "norm/bias"]
    if placement in ("pre", "act_only_pre"):
        leaves = ["conv/kernel"]  # as in the authors' code of 2016
    for shortcut in SHORTCUTS:
        tree = declared(small_net(block, placement=placement, shortcut=shortcut))
        extra = tree.keys() - plain.keys()
        assert {path: tree[path] for path in plain} == plain, shortcut
        if shortcut in FREE:
            assert extra == set(), shortcut
        elif shortcut in projecting:
            assert extra == {
                f"{name}/shortcut/{leaf}"
                for name in projecting[shortcut]
                for leaf in leaves
            }
        else:
            assert extra == {
                f"{name}/gate_conv/{leaf}"
                for name in every
                for leaf in ("kernel", "bias")
            }


@pytest.mark.parametrize("shortcut", FREE)
def test_plain_twin_starts_from_the_same_values(shortcut):
    twins = [
        init_variables(small_net(shortcut=shortcut, residual=residual), INPUT, (0, 1))
        for residual in (True, False)
    ]
    jax.tree.map(np.testing.assert_array_equal, *twins)


@pytest.mark.parametrize("kind", ["none", "group", "layer_channel"])
def test_swapping_the_norm_keeps_the_weights_of_the_convolutions(kind):
    norm = Norm(kind, num_groups=2 if kind == "group" else None)
    other, batch = (
        flatten_dict(init_variables(net, INPUT, (0,))["params"], sep="/")
        for net in (small_net().clone(norm=norm), small_net())
    )
    kernels = [path for path in batch if path.endswith("kernel")]
    assert len(kernels) == 10
    for path in kernels:
        np.testing.assert_array_equal(other[path], batch[path])


def test_twins_differ_by_the_addition_only():
    """With a branch that gives nothing, the residual net still sees its input."""
    images = np.random.RandomState(0).standard_normal((2, *INPUT)).astype(np.float32)
    for residual in (True, False):
        net = small_net(residual=residual, zero_last_scale=True)
        variables = jax.tree.map(lambda v: v[0], init_variables(net, INPUT, (0,)))
        params = variables.pop("params")
        logits = np.asarray(forward_eval(net, params, variables, images))
        assert (np.abs(logits).max() > 1e-2) == residual


ENDS_IN_NORM = ("post", "act_only_pre", "no_act_after_add", "norm_after_act")


def test_the_last_scale_of_each_branch_can_start_at_zero():
    for placement in ENDS_IN_NORM:
        for block, last in (("basic", "norm2"), ("bottleneck", "norm3")):
            net = small_net(block, placement=placement, zero_last_scale=True)
            scales = {
                path: initializer
                for path, (_, initializer) in declared(net).items()
                if path.endswith("scale")
            }
            for path, initializer in scales.items():
                wanted = zeros if path.endswith(f"{last}/scale") else ones
                assert initializer == wanted, path


@pytest.mark.parametrize(
    "placement",
    sorted(set(PLACEMENTS) - {*ENDS_IN_NORM}),
)
def test_a_branch_that_would_never_learn_is_refused(placement):
    """A zero in front of an activation or a convolution has no gradient."""
    net = small_net(placement=placement, zero_last_scale=True)
    with pytest.raises(UserError, match=r"ends in a norm.*'act_only_pre', 'post'"):
        num_params(net, INPUT)


@pytest.mark.parametrize(
    ("block", "depth", "nearest"),
    [
        ("basic", 21, "20 and 26"),
        ("basic", 55, "50 and 56"),
        ("basic", 3, "8 and 14"),
        ("basic", -1, "8 and 14"),
        ("bottleneck", 32, "29 and 38"),
    ],
)
def test_wrong_depths_name_the_nearest(block, depth, nearest):
    net = create_model("resnet20_cifar", depth=depth, block=block)
    with pytest.raises(UserError, match=f"depth {depth} .*nearest are {nearest}"):
        num_params(net, INPUT)


@pytest.mark.parametrize(
    ("argument", "value", "sentence"),
    [
        ("block", "basik", "did you mean 'basic'.*config.model.block"),
        ("shortcut", "D", "unknown shortcut 'D'.*config.model.shortcut"),
        ("placement", "pst", "did you mean 'post'.*config.model.placement"),
        ("kernel_init", "he", "allowed are .*he_normal.*config.model.kernel_init"),
        ("widths", (16, 0), "stage widths"),
        ("widths", (), "stage widths"),
        ("widths", (8, 4), "cannot go from 8 to 4: .*config.model.widths"),
    ],
)
def test_wrong_arguments_are_one_sentence(argument, value, sentence):
    net = small_net(**{argument: value})
    with pytest.raises(UserError, match=sentence):
        num_params(net, INPUT)
