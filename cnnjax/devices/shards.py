"""The parts of a batch on several devices, by how a program is laid over them."""

import dataclasses

from jax import lax
from jax.sharding import PartitionSpec as P

from cnnjax.shard import Part


@dataclasses.dataclass(frozen=True)
class Divided(Part):
    """mode 'jit': the program is that of the whole batch, XLA divides its arrays."""

    num_devices: int = 1

    def own(self, x):
        return lax.with_sharding_constraint(x, P("data"))

    def microbatches(self, x, num):
        # Each device divides its own images, so that none has to travel.
        x = x.reshape(self.num_devices, num, -1, *x.shape[1:]).swapaxes(0, 1)
        return lax.with_sharding_constraint(
            x.reshape(num, -1, *x.shape[3:]), P(None, "data")
        )


@dataclasses.dataclass(frozen=True)
class OfDevice(Part):
    """modes 'shard_map' and 'pmap': this device's part, of `num_parts` in a group.

    Args:
      axis: name of the axis over which devices are mapped.
      groups: of devices with one batch each; None where the axis is one group.
    """

    axis: str = "data"
    groups: tuple[tuple[int, ...], ...] | None = None

    def own(self, x):
        size = x.shape[0] // self.num_parts
        return lax.dynamic_slice_in_dim(x, self._index() * size, size)

    def everyone(self, x):
        return lax.all_gather(
            x, self.axis, axis_index_groups=self.groups, axis=0, tiled=True
        )

    def total(self, tree):
        return lax.psum(tree, self.axis, axis_index_groups=self.groups)

    def neighbours_total(self, x, num):
        if num == self.num_parts:
            return self.total(x)
        parts = lax.all_gather(x, self.axis, axis_index_groups=self.groups)
        first = self._index() // num * num
        return lax.dynamic_slice_in_dim(parts, first, num).sum(0)

    def _index(self):
        return lax.axis_index(self.axis) % self.num_parts
