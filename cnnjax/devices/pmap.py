"""Mode 'pmap': each device of one process has its slice of arrays [devices, ...]."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cnnjax.devices.available import chosen_devices
from cnnjax.devices.collectives import OfDevice
from cnnjax.devices.layout import AXES, HOST, Layout
from cnnjax.shard import WHOLE, computing


def stage(
    layout: Layout,
    local: Callable,
    kinds: tuple[str, ...],
    example: tuple[Any, ...],
    donate: tuple[int, ...],
) -> tuple[Any, list]:
    """What is to be compiled, and the shapes of its arguments.

    Args:
      layout: of the devices.
      local: the function of what one device has.
      kinds: of its arguments.
      example: arguments, as of `Parallel.compile`.
      donate: indices of arguments whose memory the results may take over.
    """
    data, of_batch, groups = layout.data, WHOLE, None
    if layout.seed > 1:
        rows = np.arange(layout.num_devices).reshape(-1, data)
        groups = tuple(map(tuple, rows.tolist()))
    if data > 1:
        of_batch = OfDevice(data, axis="device", groups=groups)

    def of_shard(*args):
        with computing(of_batch):
            return local(*args)

    mapped = jax.pmap(
        of_shard,
        axis_name="device",
        in_axes=tuple(None if kind == HOST else 0 for kind in kinds),
        donate_argnums=donate,
        devices=chosen_devices(layout.num_devices),
    )
    shapes = [
        tree
        if kind == HOST
        else jax.tree.map(lambda x, k=kind: _stacked_shape(layout, x, k), tree)
        for kind, tree in zip(kinds, example, strict=True)
    ]
    return mapped, shapes


def put(layout: Layout, leaf: Any, kind: str) -> jax.Array:
    """An array [devices, ...] of what each of them has."""
    leaf = np.asarray(leaf)
    stacked = _stacked_shape(layout, leaf, kind)

    def of_device(index):
        group, place = divmod(index[0].start or 0, layout.data)
        block = {"seed": group, "data": place, None: 0}
        local_slice = [
            slice(block[axis] * size, (block[axis] + 1) * size)
            for axis, size in zip(AXES[kind], stacked.shape[1:], strict=False)
        ]
        return leaf[tuple(local_slice)][None]

    mesh = Mesh(np.array(chosen_devices(layout.num_devices)), ("device",))
    sharding = NamedSharding(mesh, P("device"))
    return jax.make_array_from_callback(stacked.shape, sharding, of_device)


def one_of_each_group(layout: Layout, tree: Any) -> Any:
    """Of arrays with a seed axis, what the first device of each group has."""
    return jax.tree.map(lambda leaf: leaf[:: layout.data], tree)


def join_seeds(tree: Any) -> Any:
    """[groups, seeds of a group, ...] -> [seeds, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)


def shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape and type of an array or number."""
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    return jax.ShapeDtypeStruct(np.shape(leaf), dtype)


def _stacked_shape(layout: Layout, leaf: Any, kind: str) -> jax.ShapeDtypeStruct:
    """Shape and type of what pmap takes for an argument: [devices, ...]."""
    shape = list(np.shape(leaf))
    for i, axis in enumerate(AXES[kind]):
        shape[i] //= getattr(layout, axis) if axis else 1
    return jax.ShapeDtypeStruct((layout.num_devices, *shape), shape_of(leaf).dtype)
