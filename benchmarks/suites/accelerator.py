"""Suite accelerator: all that needs a GPU or TPU, within ten minutes.

Each part runs in a process of its own, is ended when its time is over, and keeps the
rows that it has by then. With `--dry_run` all parts run once on any device, with nets
so small that their times mean nothing: whether they run is known before a device is
lent.
"""

import dataclasses
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks.bounded import not_measured, rows_of_process, write_row
from benchmarks.machine import matmul
from benchmarks.measure import interleave
from benchmarks.nets import NETS, Net
from benchmarks.rows import Row, rows_of
from benchmarks.run import Options
from benchmarks.suites import scaling
from cnnjax.devices import parallel
from cnnjax.devices.available import is_accelerated
from cnnjax.devices.compile_cache import use_compile_cache
from cnnjax.errors import UserError
from cnnjax.run.programs import compile_programs
from cnnjax.run.setup import initial_state, set_up

TOTAL_SECONDS = 570.0
LEAST_SECONDS = 15.0  # of which a part is not worth starting
SEEDS = 5
NO_DEVICE = (
    "--suite=accelerator needs a GPU or TPU and JAX found none: choose another suite, "
    "install JAX for the accelerator with CNNJAX_EXTRA, or try it with --dry_run"
)
ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is measured.

    Args:
      large: the net of ImageNet.
      cifar: case -> net.
      dtype: of the large net.
      steps: in one dispatch.
      batch: images of a batch that several devices share.
    """

    large: Net
    cifar: Mapping[str, Net]
    dtype: str
    steps: int
    batch: int


FULL = Sizes(
    Net("resnet50", {}, 224, 256, 1000),
    {f"CIFAR ResNet-{d}": NETS[f"CIFAR ResNet-{d}, batch 128"] for d in (20, 56)},
    "bfloat16",
    10,
    128,
)
_SMALL = Net("resnet20_cifar", {"depth": 6, "widths": (32, 32)}, 8, 4, 3)
TINY = Sizes(
    _SMALL,
    dict.fromkeys(FULL.cifar, dataclasses.replace(_SMALL, batch_size=8)),
    "float32",
    1,
    16,
)
Rows = Iterator[list[Row]]


def suite(options: Options) -> Iterator[Row]:
    """The rows of all parts whose name contains `options.only`, as they come.

    Raises:
      UserError: there is no accelerator.
    """
    deadline = time.monotonic() + TOTAL_SECONDS
    chosen = [name for name in PARTS if options.only.lower() in name.lower()]
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            seconds = min(PARTS[name].seconds, deadline - time.monotonic())
            if seconds < LEAST_SECONDS:
                yield not_measured(name, "no time was left")
                continue
            path = Path(folder, f"{name}.jsonl")
            given = json.dumps(dataclasses.asdict(options))
            command = [sys.executable, "-m", __name__, name, given, str(path)]
            for row in rows_of_process(name, command, path, seconds, ROOT):
                if NO_DEVICE in row.note:
                    raise UserError(NO_DEVICE)
                yield row


def large_net(sizes: Sizes, options: Options) -> Rows:
    """An ImageNet net on synthetic images."""
    step, run, memory = training(sizes.large, sizes)
    device = jax.devices()[0].device_kind
    yield rows_of(
        _case(sizes),
        interleave({"cnnjax": step} | matmul(sizes.dtype), rounds=options.rounds),
        "cnnjax",
        unit="step",
        units=sizes.steps,
        images=sizes.large.batch_size,
        flops=3 * 2 * run.multiply_adds * sizes.large.batch_size,
        notes={"cnnjax": f"{device}; {memory}"},
    )


def against_torch(sizes: Sizes, options: Options) -> Rows:
    """The same net in turn with torch.compile, channels last."""
    if options.against != "torch":
        return
    from benchmarks.peers import torch_nets

    theirs = torch_nets.compiled_step(sizes.large)
    yield rows_of(
        f"{_case(sizes)}, against torch.compile",
        interleave(
            {"cnnjax": training(sizes.large, sizes)[0], "torch.compile": theirs},
            rounds=options.rounds,
        ),
        "torch.compile",
        unit="step",
        units={"cnnjax": sizes.steps, "torch.compile": 1},
        images=sizes.large.batch_size,
    )


def seeds_of(case: str) -> Callable[[Sizes, Options], Rows]:
    """One seed of a CIFAR net against five in one program, in each mode."""

    def measure(sizes: Sizes, options: Options) -> Rows:
        net = sizes.cifar[case]
        alone, *_ = training(net, sizes)
        for mode in ("vmap", "loop"):
            changes = {"seeds.count": SEEDS, "train.seed_mode": mode}
            together, *_ = training(net, sizes, changes)
            yield rows_of(
                f"{case}, batch {net.batch_size}, {mode}",
                interleave(
                    {"1 seed": alone, f"{SEEDS} seeds, {mode}": together},
                    rounds=options.rounds,
                ),
                "1 seed",
                unit="step of all seeds",
                units=sizes.steps,
            )

    return measure


def norms(sizes: Sizes, options: Options) -> Rows:
    """Time and memory of group norm against batch norm."""
    group = {"norm.kind": "group", "norm.num_groups": 32}
    yield _compared("norms", {"batch": {}, "group": group}, sizes, options)


def deterministic(sizes: Sizes, options: Options) -> Rows:
    """The same bits every time, and what they cost."""
    ways = {"as it comes": {}, "deterministic": {"train.deterministic": True}}
    yield _compared("deterministic mode", ways, sizes, options)


def devices(sizes: Sizes, options: Options) -> Rows:
    """All devices against one of them: strong, weak, and of seeds."""
    if (count := len(jax.devices())) == 1:
        yield [not_measured("devices", "there is one device")]
        return
    net = sizes.cifar["CIFAR ResNet-20"]
    kinds = scaling.scalings(net, sizes.batch, scaling.IMAGES_EACH)
    for case, make in kinds.items():
        yield scaling.measured(case, make, [count], options.rounds)


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the suite: what it measures, and its time, compilation included."""

    measure: Callable[[Sizes, Options], Rows]
    seconds: float


# What matters most comes first.
PARTS = {
    "ResNet-50": Part(large_net, 80),
    "ResNet-50 against torch": Part(against_torch, 150),
    **{case: Part(seeds_of(case), 110) for case in FULL.cifar},
    "norms": Part(norms, 80),
    "deterministic": Part(deterministic, 80),
    "devices": Part(devices, 120),
}


def training(net: Net, sizes: Sizes, changes: Mapping[str, Any] | None = None):
    """A function that runs some steps in one dispatch, its run, and its memory.

    Args:
      net: the net.
      sizes: of the suite.
      changes: dotted config keys.
    """
    config = net.config(2)
    config.train.dtype = sizes.dtype if net is sizes.large else "float32"
    config.train.steps_per_dispatch = sizes.steps
    for key, value in (changes or {}).items():
        section, name = key.split(".")
        config[section][name] = value
    run = set_up(config)
    programs = compile_programs(run, initial_state(run))
    holder = [parallel.to_device(initial_state(run))]

    def steps():
        holder[0], rows = programs.advance(holder[0], 0, sizes.steps)
        jax.block_until_ready(holder[0])
        return rows

    size = programs.compiled.train.memory_analysis().temp_size_in_bytes
    return steps, run, f"{size / 2**30:.2f} GiB beside the arguments"


def _compared(
    case: str, changes: Mapping[str, Mapping[str, Any]], sizes: Sizes, options: Options
) -> list[Row]:
    """Rows of the large net with some changes of its config; the first is as it is."""
    ways, notes = {}, {}
    for way, own in changes.items():
        ways[way], _, notes[way] = training(sizes.large, sizes, own)
    return rows_of(
        case,
        interleave(ways, rounds=options.rounds),
        next(iter(ways)),
        unit="step",
        units=sizes.steps,
        notes=notes,
        images=sizes.large.batch_size,
    )


def _case(sizes: Sizes) -> str:
    net = sizes.large
    return f"ResNet-50, {net.image_size} px, {sizes.dtype}, batch {net.batch_size}"


def main(arguments: Sequence[str]) -> int:
    """Measures one part in this process: its name, options as JSON, file of rows."""
    name, given, path = arguments
    options = Options(**json.loads(given))
    # The other half is torch's, in the part that has both.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    use_compile_cache()
    if not options.dry_run and not is_accelerated():
        print(NO_DEVICE, file=sys.stderr)
        return 2
    try:
        for rows in PARTS[name].measure(TINY if options.dry_run else FULL, options):
            for row in rows:
                write_row(Path(path), row)
    # Of whatever kind: the other parts are measured all the same.
    except Exception as error:
        traceback.print_exc()
        # The last line, which stands in the table.
        words = str(error).splitlines() or [""]
        print(f"{type(error).__name__}: {words[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
