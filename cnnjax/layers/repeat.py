"""Equal blocks one after another, written out or as one scanned body.

A deep net written out takes time to compile in proportion to its depth; a scanned body
is compiled once, and its variables are stacked: one leaf [blocks, ...] where the
written-out form has a leaf per block. The stacked leaves start from the same values.
"""

from collections.abc import Callable, Sequence

import jax
from flax import linen as nn

from cnnjax.layers.init import Declared


def repeat(
    parent: nn.Module,
    build: Callable[..., nn.Module],
    names: Sequence[str],
    x: jax.Array,
    *,
    train: bool,
    together: str | None,
) -> jax.Array:
    """Applies blocks of one kind in turn; call it inside a compact `__call__`.

    Args:
      parent: the net, which owns the variables.
      build: makes a block from `name=` or `parent=`; all with the same shapes, and with
        outputs of the shape and type of the inputs.
      names: of the blocks, in order.
      x: input of the first.
      train: handed to the blocks.
      together: name of the stacked variables of the scanned form; None to write the
        blocks out. Both give the same values up to rounding.

    Returns:
      The output of the last block.

    Shapes: x as the result.
    """
    if together is None or not names:
        for name in names:
            x = build(name=name)(x, train=train)
        return x
    block = build(parent=None)
    if parent.is_initializing():
        _declare(parent, block, tuple(names), x, together)
        return x  # the shape and type of the result, which is all that `init` needs
    stacked = {
        c: tree[together] for c, tree in parent.variables.items() if together in tree
    }
    changing = [c for c in stacked if c != "params" and parent.is_mutable_collection(c)]
    keys = None
    if train and parent.has_rng("dropout"):
        keys = jax.random.split(parent.make_rng("dropout"), len(names))

    def body(x, of_block):
        variables, key = of_block
        rngs = None if key is None else {"dropout": key}
        return block.apply(variables, x, train=train, mutable=changing, rngs=rngs)

    x, changed = jax.lax.scan(body, x, (stacked, keys))
    for collection, tree in changed.items():
        parent.put_variable(collection, together, tree)
    return x


def _declare(parent, block, names, x, together) -> None:
    keys = jax.random.split(parent.make_rng("params"), len(names))
    variables = jax.vmap(lambda key: block.init(key, x, train=False))(keys)

    def remember(leaf):
        if isinstance(leaf, Declared):
            return leaf.replace(stacked=(together, names))
        return leaf

    for collection, tree in variables.items():
        marked = jax.tree.map(
            remember, tree, is_leaf=lambda leaf: isinstance(leaf, Declared)
        )
        parent.put_variable(collection, together, marked)
