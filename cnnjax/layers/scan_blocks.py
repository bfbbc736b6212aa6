"""Equal blocks, run one by one or scanned.

A net whose blocks run one by one takes time to compile in proportion to its depth, and
its variables are stored separately per block. A scanned block is compiled once, and the
variables of all are stacked in one leaf [blocks, ...]; they start from the same values.

What is rematerialised, a block or a whole stage, keeps nothing but its input for the
gradient and is computed a second time there (Chen et al. 2016, arXiv 1604.06174).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import linen as nn

from cnnjax.errors import unknown_name
from cnnjax.layers.dropout import random_key
from cnnjax.layers.init import Declared, is_declaring

# What the gradient keeps: all values, the inputs of the blocks, that of the stage.
REMAT = ("none", "block", "stage")


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Equal blocks, one after another.

    Args:
      build: makes a block from `name=` or `parent=`; all with the same shapes, and,
        if there are several, with outputs of the shape and type of the inputs.
      names: of the blocks, in order.
      together: name of the stacked variables if the blocks are scanned; None to run
        them one by one. Both give the same values up to rounding, random ones included.
    """

    build: Callable[..., nn.Module]
    names: tuple[str, ...]
    together: str | None = None

    @property
    def scanned(self) -> bool:
        return self.together is not None and len(self.names) > 0


def repeat(
    parent: nn.Module,
    stage: Sequence[Blocks],
    x: jax.Array,
    *,
    train: bool,
    remat: str = "none",
) -> jax.Array:
    """Applies the blocks of a stage; call it inside a compact `__call__`.

    Args:
      parent: the net, which owns the variables.
      stage: its blocks, in order.
      x: input of the first.
      train: handed to the blocks.
      remat: one of `REMAT`; what is not kept is computed again for the gradient. The
        values are the same, random ones included.

    Returns:
      The output of the last block.

    Raises:
      UserError: no such `remat`.
    """
    if remat not in REMAT:
        raise unknown_name("rematerialisation", remat, REMAT, "config.model.remat")
    if parent.is_initializing():
        return _initialize(parent, stage, x, train)
    if remat == "stage":
        functions = [_function(parent, blocks, train) for blocks in stage]
        given = [_given(parent, blocks, train) for blocks in stage]
        x, changed = jax.checkpoint(_chain(functions))(x, given)
        for blocks, new in zip(stage, changed, strict=True):
            _put(parent, blocks, new)
        return x
    for blocks in stage:
        if blocks.scanned or remat == "block":
            function = _function(parent, blocks, train, remat=remat == "block")
            x, changed = function(x, _given(parent, blocks, train))
            _put(parent, blocks, changed)
        else:
            for name in blocks.names:
                x = blocks.build(name=name)(x, train=train)
    return x


def _initialize(
    parent: nn.Module, stage: Sequence[Blocks], x: jax.Array, train: bool
) -> jax.Array:
    """Makes the variables; of the result only shape and type are right."""
    for blocks in stage:
        if blocks.scanned:
            block = blocks.build(parent=None)
            _declare(parent, block, blocks.names, x, blocks.together)
        else:
            for name in blocks.names:
                x = blocks.build(name=name)(x, train=train)
    return x


def _chain(functions: Sequence[Callable]) -> Callable:
    """(x, given to each) -> (output, changed by each) of functions in turn."""

    def whole(x, given):
        changed = []
        for function, of_function in zip(functions, given, strict=True):
            x, new = function(x, of_function)
            changed.append(new)
        return x, changed

    return whole


def _function(
    parent: nn.Module, blocks: Blocks, train: bool, remat: bool = False
) -> Callable:
    """(x, given) -> (output, changed variables) of blocks; `given` is of `_given`."""
    block = blocks.build(parent=None)
    changing = [
        c for c in parent.variables if c != "params" and parent.is_mutable_collection(c)
    ]

    def body(x, of_block):
        variables, key = of_block
        rngs = None if key is None else {"dropout": key}
        return block.apply(variables, x, train=train, mutable=changing, rngs=rngs)

    if remat:
        # Within a scan nothing can merge the second computation with the first.
        body = jax.checkpoint(body, prevent_cse=not blocks.scanned)
    if blocks.scanned:
        return lambda x, given: jax.lax.scan(body, x, given)
    return _chain([body] * len(blocks.names))


def _given(parent: nn.Module, blocks: Blocks, train: bool) -> Any:
    """(variables, key) of each block in a list; if scanned, of all in one stack."""
    keys: list[Any] = [None] * len(blocks.names)
    if train and parent.has_rng("dropout"):
        keys = [random_key(parent, name) for name in blocks.names]
    if blocks.scanned:
        stacked = None if keys[0] is None else jax.numpy.stack(keys)
        return _own(parent, blocks.together), stacked
    own = [_own(parent, name) for name in blocks.names]
    return list(zip(own, keys, strict=True))


def _own(parent: nn.Module, name: Any) -> dict:
    """The variables of one block, or of one stack, by collection."""
    return {c: tree[name] for c, tree in parent.variables.items() if name in tree}


def _put(parent: nn.Module, blocks: Blocks, changed: Any) -> None:
    names: tuple[Any, ...] = blocks.names
    if blocks.scanned:
        names, changed = (blocks.together,), [changed]
    for name, of_block in zip(names, changed, strict=True):
        for collection, tree in of_block.items():
            parent.put_variable(collection, name, tree)


def _declare(parent, block, names, x, together) -> None:
    keys = jax.random.split(parent.make_rng("params"), len(names))
    variables = jax.vmap(lambda key: block.init(key, x, train=False))(keys)

    def remember(leaf):
        if isinstance(leaf, Declared):
            return leaf.replace(stacked=(together, names))
        if is_declaring():  # of an ordinary Linen layer
            return Declared(leaf, None, (together, names))
        return leaf

    for collection, tree in variables.items():
        marked = jax.tree.map(
            remember, tree, is_leaf=lambda leaf: isinstance(leaf, Declared)
        )
        parent.put_variable(collection, together, marked)
