"""The shards of a batch on several devices, by how a program is laid over them."""

import dataclasses

from jax import lax
from jax.sharding import PartitionSpec as P

from cnnjax.shard import Shard


@dataclasses.dataclass(frozen=True)
class Divided(Shard):
    """mode 'jit': the program is that of the whole batch, XLA divides its arrays."""

    num_devices: int = 1

    def local(self, x):
        return lax.with_sharding_constraint(x, P("data"))

    def microbatches(self, x, num):
        # Each device divides its own images, so that none has to travel.
        x = x.reshape(self.num_devices, num, -1, *x.shape[1:]).swapaxes(0, 1)
        return lax.with_sharding_constraint(
            x.reshape(num, -1, *x.shape[3:]), P(None, "data")
        )


@dataclasses.dataclass(frozen=True)
class OfDevice(Shard):
    """modes 'shard_map' and 'pmap': this device's shard, one of `num_shards`.

    Args:
      axis: name of the axis over which devices are mapped.
      groups: of devices with one batch each; None where the axis is one group.
    """

    axis: str = "data"
    groups: tuple[tuple[int, ...], ...] | None = None

    def local(self, x):
        size = x.shape[0] // self.num_shards
        return lax.dynamic_slice_in_dim(x, self._index() * size, size)

    def gather(self, x):
        return lax.all_gather(
            x, self.axis, axis_index_groups=self.groups, axis=0, tiled=True
        )

    def sum(self, tree):
        return lax.psum(tree, self.axis, axis_index_groups=self.groups)

    def sum_of_neighbours(self, x, num):
        if num == self.num_shards:
            return self.sum(x)
        sums = lax.all_gather(x, self.axis, axis_index_groups=self.groups)
        first = self._index() // num * num
        return lax.dynamic_slice_in_dim(sums, first, num).sum(0)

    def _index(self):
        return lax.axis_index(self.axis) % self.num_shards
