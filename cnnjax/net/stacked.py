"""The two forms of a net's variables: stacked, or stored separately per block.

A net that scans its equal blocks (`layers.scan_blocks`) keeps their variables stacked,
in one leaf [blocks, ...]. Whatever leaves a run is stored separately per block:
checkpoints, weights for other libraries, features by name. So nobody else needs to know
how the blocks were executed; every conversion goes through this file.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnjax.layers.init import Declared
from cnnjax.net.execution import unscanned
from cnnjax.net.initialize import abstract_variables

# Name of a stack, such as 'stage1_blocks' -> names of its blocks in order.
Stacks = Mapping[str, tuple[str, ...]]


def stacks_of(declared: Any) -> Stacks:
    """The stacks of a net, {} if all its blocks are stored separately.

    Args:
      declared: of `abstract_variables`.
    """
    leaves = jax.tree.leaves(declared, is_leaf=lambda leaf: isinstance(leaf, Declared))
    return dict(leaf.stacked for leaf in leaves if leaf.stacked)


def stacks_of_net(model: nn.Module, input_shape: tuple[int, ...]) -> Stacks:
    """`stacks_of` a net for images of (height, width, channels)."""
    if getattr(model, "scan_blocks", False) is False:
        return {}
    return _stacks_of_net(model, tuple(input_shape))


@functools.lru_cache(maxsize=32)  # of a deep net it takes a fifth of a second
def _stacks_of_net(model: nn.Module, input_shape: tuple[int, ...]) -> Stacks:
    return stacks_of(abstract_variables(model, input_shape))


def unscan(
    model: nn.Module, variables: Any, input_shape: tuple[int, ...]
) -> tuple[nn.Module, Any]:
    """The net with its blocks run one by one, and its variables to match.

    Args:
      model: any net.
      variables: its collections, in either form, or a tree with some of them.
      input_shape: (height, width, channels).
    """
    return unscanned(model), unstack(variables, stacks_of_net(model, input_shape))


def paths_of_blocks(path: str, stacks: Stacks) -> list[str]:
    """The paths that a leaf has where its blocks are stored separately.

    Args:
      path: such as 'stage1_blocks/conv1/kernel'; of no stack, it stays.
      stacks: of `stacks_of`.
    """
    for name in stacks.keys() & set(path.split("/")):
        return [path.replace(name, block, 1) for block in stacks[name]]
    return [path]


def unstack(tree: Any, stacks: Stacks, axis: int = 0) -> Any:
    """Every stack as its blocks; what is stored separately already stays.

    Args:
      tree: anything with variables in it: collections, optimizer states.
      stacks: of `stacks_of`.
      axis: of the blocks: 0, or 1 after a leading seed axis.
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


def stack(tree: Any, stacks: Stacks, axis: int = 0) -> Any:
    """The inverse of `unstack`; what is stacked already stays."""

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
