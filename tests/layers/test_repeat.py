"""The scanned form of equal blocks against the written-out one, in float64."""

import jax
import numpy as np
import pytest

from cnnjax.models import create_model
from cnnjax.models.forward import forward_eval, forward_train
from cnnjax.models.initialize import init_variables

DEPTH, WIDTHS, SHAPE = 14, (4, 6), (8, 8, 1)  # three blocks a stage
GRAMMARS = [
    {"placement": "post"},
    {"placement": "pre", "act": "tanh"},
    {"block": "bottleneck", "depth": 20, "shortcut": "C"},
]


def nets(**arguments):
    chosen = {"depth": DEPTH, "widths": WIDTHS, "num_classes": 5} | arguments
    return [
        create_model("resnet20_cifar", scan_blocks=scan, **chosen)
        for scan in (False, True)
    ]


def variables(model, dtype=np.float32):
    drawn = init_variables(model, SHAPE, (3,))
    return jax.tree.map(lambda leaf: leaf[0].astype(dtype), drawn)


def stacked(tree):
    """A written-out collection in the scanned form."""
    rest = {k: v for k, v in tree.items() if "block" not in k or k.endswith("block1")}
    for stage in (1, 2):
        prefix = f"stage{stage}_block"
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


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_same_start_logits_gradients_and_statistics(grammar):
    with jax.enable_x64():
        written, scanned = nets(dtype="float64", **grammar)
        start, stack = (variables(net, np.float64) for net in (written, scanned))
    for collection, tree in start.items():
        for a, b in zip(
            jax.tree.leaves(stacked(tree)),
            jax.tree.leaves(stack[collection]),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
    images = np.random.default_rng(0).normal(size=(6, *SHAPE))

    def outcome(model, tree):
        state = {k: v for k, v in tree.items() if k != "params"}

        def loss(params):
            key = jax.random.key(0)
            logits, _, new = forward_train(model, params, state, images, key)
            return (logits**2).mean(), (logits, new)

        gradient, (logits, new) = jax.grad(loss, has_aux=True)(tree["params"])
        return gradient, logits, new, forward_eval(model, tree["params"], new, images)

    with jax.enable_x64():
        of_written = jax.jit(lambda tree: outcome(written, tree))(start)
        of_scanned = jax.jit(lambda tree: outcome(scanned, tree))(stack)
    assert_close(stacked(of_written[0]), of_scanned[0])
    assert_close(of_written[1], of_scanned[1])
    assert_close(stacked(of_written[2]["batch_stats"]), of_scanned[2]["batch_stats"])
    assert_close(of_written[3], of_scanned[3])


def test_every_block_drops_out_by_itself():
    _, scanned = nets(shortcut="dropout", shortcut_dropout_rate=0.5)
    tree = variables(scanned)
    state = {"batch_stats": tree["batch_stats"]}
    images = np.ones((2, *SHAPE), np.float32)

    @jax.jit
    def logits(key):
        return forward_train(scanned, tree["params"], state, images, key)[0]

    first, again, other = map(logits, map(jax.random.key, (0, 0, 1)))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_compiled_program_does_not_grow_with_depth():
    def size(depth):
        _, scanned = nets(depth=depth)
        tree = init_variables(scanned, SHAPE, (0,))
        one = jax.tree.map(lambda leaf: leaf[0], tree)
        images = np.ones((2, *SHAPE), np.float32)
        lowered = jax.jit(lambda p, s, x: forward_eval(scanned, p, s, x)).lower(
            one["params"], {"batch_stats": one["batch_stats"]}, images
        )
        return len(lowered.as_text().splitlines())

    assert size(30) == size(14)
