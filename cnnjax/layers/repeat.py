"""Equal blocks one after another, written out or as one scanned body.

A deep net written out takes time to compile in proportion to its depth; a scanned body
is compiled once, and its variables are stacked: one leaf [blocks, ...] where the
written-out form has a leaf per block. The stacked leaves start from the same values.

A rematerialised block keeps nothing but its input for the gradient and is computed a
second time there (Chen et al. 2016, arXiv 1604.06174).
"""

from collections.abc import Callable, Sequence

import jax
from flax import linen as nn

from cnnjax.layers.init import Declared
from cnnjax.layers.regularize import random_key


def repeat(
    parent: nn.Module,
    build: Callable[..., nn.Module],
    names: Sequence[str],
    x: jax.Array,
    *,
    train: bool,
    together: str | None = None,
    remat: bool = False,
) -> jax.Array:
    """Applies blocks of one kind in turn; call it inside a compact `__call__`.

    Args:
      parent: the net, which owns the variables.
      build: makes a block from `name=` or `parent=`; all with the same shapes, and,
        if there are several, with outputs of the shape and type of the inputs.
      names: of the blocks, in order.
      x: input of the first.
      train: handed to the blocks.
      together: name of the stacked variables of the scanned form; None to write the
        blocks out. Both give the same values up to rounding, random ones included.
      remat: compute each block again for the gradient, in place of keeping its values.

    Returns:
      The output of the last block.

    Shapes: x as the result, where there are several blocks.
    """
    scanned = together is not None and len(names) > 0
    if scanned and parent.is_initializing():
        _declare(parent, build(parent=None), tuple(names), x, together)
        return x  # the shape and type of the result, which is all that `init` needs
    if parent.is_initializing() or not (scanned or remat):
        for name in names:
            x = build(name=name)(x, train=train)
        return x
    keys = None
    if train and parent.has_rng("dropout"):
        keys = [random_key(parent, name) for name in names]
    body = _body(parent, build(parent=None), train)
    if remat:
        # Within a scan nothing can merge the second computation with the first.
        body = jax.checkpoint(body, prevent_cse=not scanned)
    if scanned:
        stacked_keys = None if keys is None else jax.numpy.stack(keys)
        x, changed = jax.lax.scan(body, x, (_own(parent, together), stacked_keys))
        _put(parent, together, changed)
        return x
    for i, name in enumerate(names):
        x, changed = body(x, (_own(parent, name), None if keys is None else keys[i]))
        _put(parent, name, changed)
    return x


def _body(parent: nn.Module, block: nn.Module, train: bool) -> Callable:
    """(x, (variables, key)) -> (output, changed variables) of one block."""
    changing = [
        c for c in parent.variables if c != "params" and parent.is_mutable_collection(c)
    ]

    def body(x, of_block):
        variables, key = of_block
        rngs = None if key is None else {"dropout": key}
        return block.apply(variables, x, train=train, mutable=changing, rngs=rngs)

    return body


def _own(parent: nn.Module, name: str) -> dict:
    """The variables of one block, or of one stack, by collection."""
    return {c: tree[name] for c, tree in parent.variables.items() if name in tree}


def _put(parent: nn.Module, name: str, changed: dict) -> None:
    for collection, tree in changed.items():
        parent.put_variable(collection, name, tree)


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
