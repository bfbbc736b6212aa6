"""Turns pure functions into programs on devices.

Everything here takes a function of one seed and one batch and runs it for all seeds,
on all devices of a `Layout`; `layout.py` has the kinds of its arguments.

Three modes give the same numbers. 'jit': XLA divides a program that is written for the
whole batch. 'shard_map' and 'pmap': each device runs the program of its shard of the
batch, and sums with the others where `cnnjax.shard` does.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cnnjax.devices import pmap
from cnnjax.devices.allocator import make_room
from cnnjax.devices.available import chosen_devices
from cnnjax.devices.collectives import Divided, OfDevice
from cnnjax.devices.distributed import num_processes
from cnnjax.devices.layout import AXES, BATCHES, ONE_DEVICE, SEEDS, STREAM, Layout
from cnnjax.devices.seed_axis import over_seeds
from cnnjax.layers.functional.implementation import implementation
from cnnjax.shard import WHOLE, computing

# Arrays with fewer values per seed are kept whole by `shard_state`.
SMALLEST_SHARDED = 4096


@dataclasses.dataclass(frozen=True)
class Parallel:
    """How the programs of a run are laid over devices.

    Args:
      mode: 'jit', 'shard_map' or 'pmap'.
      layout: devices for the seeds and for each batch.
      shard_state: mode 'jit' only: large arrays of the state are divided over the
        devices of a batch (as ZeRO does), and put together where they are used.

    Source: Rajbhandari et al. 2019, arXiv 1910.02054 (ZeRO).
    """

    mode: str = "jit"
    layout: Layout = ONE_DEVICE
    shard_state: bool = False

    def compile(
        self,
        function: Callable,
        kinds: tuple[str, ...],
        example: tuple[Any, ...],
        *,
        donate: tuple[int, ...] = (),
        results: Any = None,
        seed_mode: str = "auto",
        deterministic: bool = False,
        remat: bool = False,
        impl: str = "auto",
    ) -> Callable:
        """Compiles a function of one seed for all seeds and devices.

        Args:
          function: its results get a leading seed axis.
          kinds: of its arguments.
          example: arguments, or `jax.ShapeDtypeStruct`s; SEEDS with their seed axis,
            STREAM and BATCHES with the images of all processes.
          donate: indices of arguments whose memory the results may take over.
          results: for each result the index of the argument that it is placed like,
            or None; one for all, or a tuple.
          seed_mode: see `over_seeds`.
          deterministic: see `compiler_options`.
          remat: likewise.
          impl: of the layers, see `layers.implementation`.

        Returns:
          The program, of arguments as `put` places them (HOST ones need no placing).
        """
        mapped = tuple(kind in (SEEDS, STREAM) for kind in kinds)
        local = over_seeds(function, mapped, seed_mode)
        options: dict[str, Any] = {
            "deterministic": deterministic,
            "remat": remat,
            "impl": impl,
        }
        if self.layout.num_devices == 1:
            return compile_program(local, example, donate, **options)
        if self.mode == "pmap":
            staged, shapes = pmap.stage(self.layout, local, kinds, example, donate)
            return _compile(staged, shapes, **options)
        if self.mode == "jit" and self.layout.data > 1 and impl == "auto":
            # XLA cannot divide a call of oneDNN: it would put the batch together.
            options["impl"] = "xla"
        shardings = [
            self._shardings(kind, tree)
            for kind, tree in zip(kinds, example, strict=True)
        ]
        placed = {
            "in_shardings": tuple(shardings),
            "out_shardings": self._results(results, shardings),
        }
        with jax.set_mesh(self._mesh()):
            whole = self._mapped(local, kinds)
            shapes = jax.tree.map(pmap.shape_of, example)
            return compile_program(whole, shapes, donate, **options, **placed)

    def put(self, tree: Any, kind: str = SEEDS) -> Any:
        """Copies host arrays onto the devices.

        Every process has all of an array; only of STREAM and BATCHES each has the seeds
        and the images of its `local_indices`.
        """
        if self.layout.num_devices == 1:
            return to_device(tree)
        if self.mode == "pmap":
            return jax.tree.map(lambda leaf: pmap.put(self.layout, leaf, kind), tree)
        if kind in (STREAM, BATCHES):
            return jax.tree.map(lambda leaf: self._put_local(leaf, kind), tree)
        return jax.tree.map(_put, tree, self._shardings(kind, tree))

    def local_indices(self, axis: str, size: int) -> np.ndarray:
        """Which seeds or places in a batch the devices of this process compute, rising.

        Args:
          axis: 'seed' or 'data'.
          size: number of seeds, or of places in a batch.
        """
        if self.layout.num_devices == 1:
            return np.arange(size)
        sharding = NamedSharding(self._mesh(), P(axis))
        shares = sharding.addressable_devices_indices_map((size,)).values()
        return np.unique([np.arange(size)[share] for share in shares])

    def to_host(self, tree: Any) -> Any:
        """Waits for arrays with a seed axis and copies them to NumPy, all seeds."""
        if self.mode == "pmap" and self.layout.num_devices > 1:
            return pmap.join_seeds(to_host(pmap.one_of_each_group(self.layout, tree)))
        return to_host(tree)

    def _mesh(self) -> Mesh:
        shape = (self.layout.seed, self.layout.data)
        return Mesh(
            np.array(chosen_devices(self.layout.num_devices)).reshape(shape),
            ("seed", "data"),
            axis_types=(AxisType.Auto, AxisType.Auto),
        )

    def _mapped(self, local: Callable, kinds: tuple[str, ...]) -> Callable:
        """The function of whole arrays from that of what a group or a device has."""
        data, by_hand = self.layout.data, {"seed", "data"}
        of_batch = WHOLE if data == 1 else OfDevice(data)
        if self.mode == "jit" and data > 1:
            by_hand, of_batch = {"seed"}, Divided(num_devices=data)

        def of_shard(*args):
            with computing(of_batch):
                return local(*args)

        if by_hand == {"seed"} and self.layout.seed == 1:
            return of_shard
        specs = {
            kind: P(*(axis if axis in by_hand else None for axis in axes))
            for kind, axes in AXES.items()
        }
        return jax.shard_map(
            of_shard,
            mesh=self._mesh(),
            in_specs=tuple(specs[kind] for kind in kinds),
            out_specs=P("seed"),
            axis_names=by_hand,
            check_vma=False,  # pmap has no such check, and gradients must be alike
        )

    def _shardings(self, kind: str, tree: Any) -> Any:
        mesh = self._mesh()
        if kind == SEEDS:
            return jax.tree.map(lambda x: NamedSharding(mesh, self._spec(x)), tree)
        return jax.tree.map(lambda x: NamedSharding(mesh, P(*AXES[kind])), tree)

    def _spec(self, leaf: Any) -> P:
        """Where an array with a seed axis lies: divided further by `shard_state`."""
        shape, data = np.shape(leaf), self.layout.data
        if not self.shard_state or np.prod(shape[1:]) < SMALLEST_SHARDED:
            return P("seed")
        fitting = [i for i in range(1, len(shape)) if shape[i] % data == 0]
        if not fitting:
            return P("seed")
        largest = max(fitting, key=lambda i: shape[i])
        return P("seed", *[None] * (largest - 1), "data")

    def _put_local(self, leaf: np.ndarray, kind: str) -> jax.Array:
        """A whole array of which this process has the blocks of its devices."""
        shape, there = list(leaf.shape), {}
        for i, axis in enumerate(AXES[kind]):
            if axis is not None:
                num_blocks = getattr(self.layout, axis)
                there[i] = self.local_indices(axis, num_blocks)
                shape[i] = leaf.shape[i] // len(there[i]) * num_blocks

        def of_device(index):
            local = list(index)
            for i, blocks in there.items():
                size = leaf.shape[i] // len(blocks)
                place = np.searchsorted(blocks, (index[i].start or 0) // size)
                local[i] = slice(place * size, (place + 1) * size)
            return leaf[tuple(local)]

        sharding = NamedSharding(self._mesh(), P(*AXES[kind]))
        return jax.make_array_from_callback(tuple(shape), sharding, of_device)

    def _results(self, results: Any, shardings: list) -> Any:
        whole = NamedSharding(self._mesh(), P("seed"))
        if isinstance(results, tuple):
            return tuple(whole if i is None else shardings[i] for i in results)
        return whole if results is None else shardings[results]


def compiler_options(
    platform: str, deterministic: bool, remat: bool = False
) -> dict[str, Any]:
    """Options of XLA for a program.

    Args:
      platform: 'cpu', 'gpu' or 'tpu'.
      deterministic: whether the same program on the same device must give the same bits
        every time. GPUs need an option for that: some of their sums add up in the order
        in which threads come. CPUs and TPUs do so anyway.
      remat: whether blocks or stages are computed a second time to save memory. On CPU
        XLA drops the barriers that keep the two apart, and merges them, before it plans
        the memory. Programs without such blocks are faster without barriers.
    """
    if deterministic and platform == "gpu":
        return {"xla_gpu_deterministic_ops": True}
    if remat and platform == "cpu":
        return {"xla_disable_hlo_passes": "cse_barrier_expander"}
    return {}


def compile_program(
    function: Callable,
    example: tuple[Any, ...],
    donate: tuple[int, ...] = (),
    deterministic: bool = False,
    remat: bool = False,
    impl: str = "auto",
    **shardings: Any,
) -> Callable:
    """Compiles a function as it is for the shapes of the example arguments.

    Args:
      function: what to run.
      example: arrays or `jax.ShapeDtypeStruct`s.
      donate: indices of arguments whose memory the results may take over.
      deterministic: see `compiler_options`.
      remat: likewise.
      impl: of the layers, see `layers.implementation`.
      **shardings: `in_shardings` and `out_shardings` of `jax.jit`.
    """
    jitted = jax.jit(function, donate_argnums=donate, **shardings)
    options = {"deterministic": deterministic, "remat": remat}
    return _compile(jitted, example, impl=impl, **options)


def _compile(staged: Any, example: Any, *, impl: str, **options: bool) -> Callable:
    options = compiler_options(jax.default_backend(), **options)
    with implementation(impl):
        compiled = staged.lower(*example).compile(compiler_options=options)
    if (needed := compiled.memory_analysis()) is not None:  # not every backend knows
        make_room(needed.temp_size_in_bytes)
    return compiled


def to_device(tree: Any) -> Any:
    """Copies host arrays onto the first device."""
    return jax.device_put(tree)


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    leaf = np.asarray(leaf)
    return jax.make_array_from_callback(leaf.shape, sharding, lambda i: leaf[i])


def to_host(tree: Any) -> Any:
    """Waits for device arrays and copies them to NumPy, also those of other hosts."""
    if num_processes() == 1:
        return jax.device_get(tree)
    return jax.tree.map(_gathered, tree)


def _gathered(leaf: Any) -> np.ndarray:
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
        return np.asarray(leaf)
    if leaf.is_fully_replicated:
        return np.asarray(leaf.addressable_data(0))
    return multihost_utils.process_allgather(leaf, tiled=True)
