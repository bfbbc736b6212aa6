"""Both forms of a net's variables, and the parts that take either."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax import config, interop
from cnnjax.analysis.features import features
from cnnjax.analysis.folding import fold_batch_norm
from cnnjax.errors import UserError
from cnnjax.models.registry import create_model
from cnnjax.net.execution import EXECUTION, unscanned
from cnnjax.net.forward import forward_eval
from cnnjax.net.initialize import abstract_variables, init_variables
from cnnjax.net.stacked import stack, stacks_of, stacks_of_net, unstack

SHAPE = (8, 8, 3)
SMALL = {"depth": 20, "widths": (4, 6, 8)}


def net(scan, **arguments):
    return create_model("resnet20_cifar", scan_blocks=scan, **SMALL, **arguments)


def start(model, seeds=(0, 1)):
    return init_variables(model, SHAPE, seeds)


def one(tree):
    return jax.tree.map(lambda leaf: leaf[0], tree)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_there_and_back():
    written, scanned = net(False), net(True)
    stacks = stacks_of_net(scanned, SHAPE)
    assert stacks["stage2_blocks"] == ("stage2_block2", "stage2_block3")
    assert stacks.keys() == {f"stage{i}_blocks" for i in (1, 2, 3)}
    assert stacks_of(abstract_variables(written, SHAPE)) == {}
    for tree, other in ((start(written), start(scanned)),):
        assert_same(unstack(other, stacks, axis=1), tree)
        assert_same(stack(tree, stacks, axis=1), other)
        # What is in the wanted form already stays, and so does a net without stacks.
        assert_same(unstack(tree, stacks, axis=1), tree)
        assert_same(stack(other, stacks, axis=1), other)
        assert_same(stack(tree, {}), tree)


def test_optimizer_states_are_converted_where_they_hold_variables():
    written, scanned = (start(net(scan))["params"] for scan in (False, True))
    stacks = stacks_of_net(net(True), SHAPE)
    optimizer = optax.chain(optax.scale_by_adam(), optax.trace(0.9))
    of_written, of_scanned = map(optimizer.init, (written, scanned))
    marked = jax.tree.map(lambda m, p: m + p, of_scanned[0].mu, scanned)
    of_scanned = (of_scanned[0]._replace(mu=marked), of_scanned[1])
    converted = unstack(of_scanned, stacks, axis=1)
    assert jax.tree.structure(converted) == jax.tree.structure(of_written)
    assert_same(converted[0].mu, written)
    assert_same(stack(converted, stacks, axis=1), of_scanned)


def test_host_arrays_stay_on_the_host_and_device_arrays_on_the_device():
    stacks = {"all": ("a", "b")}
    on_host = stack({"a": {"w": np.ones(2)}, "b": {"w": np.zeros(2)}}, stacks)
    assert type(on_host["all"]["w"]) is np.ndarray
    blocks = jax.jit(lambda w: unstack({"all": {"w": w}}, stacks))(jnp.eye(2))
    np.testing.assert_array_equal(blocks["b"]["w"], [0, 1])
    assert isinstance(stack(blocks, stacks)["all"]["w"], jax.Array)


def test_half_a_stack_is_none():
    """Variables of another depth must not be taken for those of this net."""
    tree = {"a": {"w": np.ones(2)}}
    assert stack(tree, {"all": ("a", "b")}) == tree


def test_unscanned_nets_execute_plainly():
    for scan in (None, True):
        plain = unscanned(net(scan, remat="block"))
        assert (plain.scan_blocks, plain.remat) == (False, "none")
    mlp = create_model("mlp")
    assert unscanned(mlp).widths == mlp.widths
    assert {f"model.{field}" for field in EXECUTION} <= set(config.EXECUTION)


def test_features_of_every_block():
    written, scanned = net(False), net(True, remat="block")
    of_written, of_scanned = one(start(written)), one(start(scanned))
    images = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)
    names = ["stage1_block1", "stage2_block3", "stage3_block2/conv1"]
    got = jax.jit(lambda v: features(scanned, v, images, names))(of_scanned)
    expected = features(written, of_written, images, names)
    assert got.keys() == expected.keys() == set(names)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-5)
    direct = features(scanned, of_scanned, images)
    assert [name for name in direct if name.startswith("stage1")] == [
        f"stage1_block{i}" for i in (1, 2, 3)
    ]
    with pytest.raises(UserError, match=r"no module 'stage1_blocks'.*stage1_block"):
        features(scanned, of_scanned, images, ["stage1_blocks"])


def test_folding_writes_the_blocks_out():
    scanned = net(True)
    variables = one(start(scanned))
    variables["batch_stats"] = jax.tree.map(lambda v: v + 0.5, variables["batch_stats"])
    bare, folded = fold_batch_norm(scanned, variables, SHAPE)
    assert bare.scan_blocks is False
    assert "stage1_block3" in folded["params"]
    images = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)
    stats = {"batch_stats": variables["batch_stats"]}
    before = forward_eval(scanned, variables["params"], stats, images)
    after = forward_eval(bare, folded["params"], {}, images)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_torch_weights_load_into_both_forms():
    arguments = {"source": "cifar_append", "widths": (4, 6, 8)}
    written = one(start(net(False), seeds=(7,)))
    scanned = one(start(net(True), seeds=(7,)))
    theirs = interop.to_torch("resnet20_cifar", written, scan_blocks=False, **arguments)
    assert theirs["layer1.2.conv1.weight"].shape == (4, 4, 3, 3)
    assert_same(
        interop.to_torch("resnet20_cifar", scanned, scan_blocks=True, **arguments),
        theirs,
    )
    for scan, ours in ((False, written), (True, scanned)):
        back = interop.from_torch(
            "resnet20_cifar", theirs, scan_blocks=scan, **arguments
        )
        assert_same(back, ours)
