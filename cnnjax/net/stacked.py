"""Blocks in one stack or each by itself: the two forms of a net's variables.

A net that scans its equal blocks (`layers.repeat`) keeps their variables in one leaf
[blocks, ...]. Whatever leaves a run has a leaf per block instead: checkpoints, weights
for other libraries, features by name. So it does not matter to anyone how the blocks
were executed.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnjax.layers.init import Declared
from cnnjax.net.initialize import abstract_variables

# Name of a stack, such as 'stage1_blocks' -> names of its blocks in order.
Stacks = Mapping[str, tuple[str, ...]]


def stacks_of(declared: Any) -> Stacks:
    """The stacks of a net, {} if all its blocks are written out.

    Args:
      declared: of `abstract_variables`.
    """
    leaves = jax.tree.leaves(declared, is_leaf=lambda leaf: isinstance(leaf, Declared))
    return dict(leaf.stacked for leaf in leaves if leaf.stacked)


def stacks_of_net(model: nn.Module, input_shape: tuple[int, ...]) -> Stacks:
    """`stacks_of` a net for images of (height, width, channels)."""
    if getattr(model, "scan_blocks", False) is False:
        return {}
    return stacks_of(abstract_variables(model, input_shape))


def write_out(tree: Any, stacks: Stacks, axis: int = 0) -> Any:
    """Every stack as its blocks; what is written out already stays.

    Args:
      tree: anything with variables in it: collections, optimizer states.
      stacks: of `stacks_of`.
      axis: of the blocks: 0, or 1 behind a leading seed axis.
    """

    def holds(node):
        return isinstance(node, dict) and not stacks.keys().isdisjoint(node)

    def convert(node):
        if not holds(node):
            return node
        blocks = {k: v for k, v in node.items() if k not in stacks}
        for name in stacks.keys() & node.keys():
            for i, block in enumerate(stacks[name]):
                blocks[block] = _block(node[name], i, axis)
        return blocks

    return jax.tree.map(convert, tree, is_leaf=holds)


def stack_up(tree: Any, stacks: Stacks, axis: int = 0) -> Any:
    """The inverse of `write_out`; what is stacked already stays."""

    def whole(node):
        return [name for name, blocks in stacks.items() if node.keys() >= set(blocks)]

    def holds(node):
        return isinstance(node, dict) and bool(whole(node))

    def convert(node):
        if not holds(node):
            return node
        node = dict(node)
        for name in whole(node):
            blocks = [node.pop(block) for block in stacks[name]]
            node[name] = jax.tree.map(lambda *leaves: _stack(leaves, axis), *blocks)
        return node

    return jax.tree.map(convert, tree, is_leaf=holds)


def _block(stack: Any, i: int, axis: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[(slice(None),) * axis + (i,)], stack)


def _stack(leaves: tuple, axis: int) -> Any:
    # Host arrays stay on the host.
    on_host = all(isinstance(leaf, np.ndarray) for leaf in leaves)
    return (np if on_host else jnp).stack(leaves, axis)
