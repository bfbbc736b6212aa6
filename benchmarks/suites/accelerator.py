"""Suite accelerator: measurements that need a GPU or TPU."""

from collections.abc import Mapping

import jax

from benchmarks.machine import matmul
from benchmarks.measure import interleave
from benchmarks.nets import NETS, Net
from benchmarks.rows import Row, rows_of
from cnnjax.devices import parallel
from cnnjax.devices.available import is_accelerated
from cnnjax.errors import UserError
from cnnjax.run.programs import compile_programs
from cnnjax.run.setup import initial_state, set_up

STEPS = 20
RESNET50 = Net("resnet50", {}, 224, 256, 1000)
CIFAR = {
    f"CIFAR ResNet-{depth}, batch 128": NETS[f"CIFAR ResNet-{depth}, batch 128"]
    for depth in (20, 56)
}
SEEDS = (1, 5)


def suite(options) -> list[Row]:
    """ResNet-50 against torch, seeds of CIFAR nets, group norm against batch norm.

    Raises:
      UserError: there is no accelerator.
    """
    if not is_accelerated():
        raise UserError(
            "--suite=accelerator needs a GPU or TPU and JAX found none: choose another "
            "suite, or install JAX for the accelerator with CNNJAX_EXTRA"
        )
    rows = []
    if options.only.lower() in "resnet-50":
        rows += large_net(RESNET50, options)
    for case, net in CIFAR.items():
        if options.only.lower() in case.lower():
            rows += seeds(case, net, options)
    if options.only.lower() in "norms":
        rows += norms(RESNET50, options)
    return rows


def large_net(net: Net, options, dtype: str = "bfloat16") -> list[Row]:
    """An ImageNet net on synthetic images, against torch.compile, channels last."""
    step, run = training(net, dtype)
    ways, units = {"cnnjax": step}, {"cnnjax": STEPS}
    reference = "cnnjax"
    if options.against == "torch":
        from benchmarks.peers import torch_nets

        reference = "torch"
        ways["torch"] = torch_nets.compiled_step(net)
        units["torch"] = 1
    return rows_of(
        f"ResNet-50, {net.image_size} px, {dtype}, batch {net.batch_size}",
        interleave(ways | matmul(dtype), rounds=options.rounds),
        reference,
        unit="step",
        units=units,
        images=net.batch_size,
        flops=3 * 2 * run.multiply_adds * net.batch_size,
    )


def seeds(case: str, net: Net, options) -> list[Row]:
    """One seed, against five seeds in one program, in each mode."""
    ways = {"1 seed": training(net, "float32")[0]}
    for mode in ("loop", "vmap"):
        way = training(net, "float32", num_seeds=max(SEEDS), mode=mode)[0]
        ways[f"{max(SEEDS)} seeds, {mode}"] = way
    return rows_of(
        case,
        interleave(ways, rounds=options.rounds),
        "1 seed",
        unit="step of all seeds",
        units=STEPS,
    )


def norms(net: Net, options, dtype: str = "bfloat16") -> list[Row]:
    """Step time and memory of group norm against batch norm."""
    ways: dict[str, object] = {}
    notes: dict[str, str] = {}
    for kind, settings in (("batch", {}), ("group", {"num_groups": 32})):
        norm = {"kind": kind, **settings}
        ways[kind], run = training(net, dtype, norm=norm)
        notes[kind] = f"{memory(run) / 2**30:.2f} GiB beside the arguments"
    times = interleave(ways, rounds=options.rounds)
    return rows_of(
        "norms",
        times,
        "batch",
        unit="step",
        units=STEPS,
        notes=notes,
        images=net.batch_size,
    )


def memory(run) -> int:
    """Bytes of temporary memory of the training program."""
    programs = compile_programs(run, initial_state(run))
    return programs.compiled.train.memory_analysis().temp_size_in_bytes


def training(
    net: Net,
    dtype: str,
    *,
    num_seeds: int = 1,
    mode: str = "auto",
    norm: Mapping | None = None,
):
    """A function that runs some steps in one dispatch, and its run."""
    config = net.config(2)
    config.train.dtype = dtype
    config.train.steps_per_dispatch = STEPS
    config.train.seed_mode = mode
    config.seeds.count = num_seeds
    if norm is not None:
        config.norm.update(norm)
    run = set_up(config)
    programs = compile_programs(run, initial_state(run))
    holder = [parallel.to_device(initial_state(run))]

    def steps():
        holder[0], rows = programs.advance(holder[0], 0, STEPS)
        jax.block_until_ready(holder[0])
        return rows

    return steps, run
