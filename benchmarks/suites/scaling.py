"""Suite scaling: a training step on several devices, against one device.

Strong scaling divides one batch over the devices, weak scaling gives every device the
same number of images, and seeds on different devices are independent. On a CPU the
devices are emulated and share its cores: D devices on C cores are at best min(D, C)
times as fast as one, which already uses several cores, so the suite shows the overhead.
"""

import time
from collections.abc import Callable

import jax

from benchmarks.measure import interleave
from benchmarks.nets import NETS, Net
from benchmarks.profile import collective_seconds, profiled
from benchmarks.rows import Row, rows_of
from cnnjax.errors import UserError
from cnnjax.run.programs import compile_programs
from cnnjax.run.setup import Run, initial_state, set_up

NET = "CIFAR ResNet-20, batch 128"
IMAGES_EACH = 32  # per device in weak scaling
STEPS = 2  # in one dispatch
MODES = ("jit", "shard_map")
ONE = "1 device"


def suite(options) -> list[Row]:
    """Efficiency relative to one device: strong, weak, and of seeds.

    Raises:
      UserError: there is only one device.
    """
    available = len(jax.devices())
    counts = [d for d in (2, 4, 8, 16, 32, 64, 128, 256) if d <= available]
    if not counts:
        raise UserError(
            "suite scaling needs several devices and JAX finds 1: set XLA_FLAGS="
            "--xla_force_host_platform_device_count=8 to emulate some on CPU"
        )
    rows = []
    for case, make in scalings(NETS[NET], 128, IMAGES_EACH).items():
        if options.only.lower() in case.lower():
            rows += measured(case, make, counts, options.rounds)
    return rows


def run_of(net: Net, layout: str, mode: str, *, batch: int, seeds: int = 1) -> Run:
    """A net under a layout."""
    config = net.config(STEPS)
    config.train.batch_size, config.seeds.count = batch, seeds
    config.data.num_train = STEPS * batch
    config.parallel.layout, config.parallel.mode = layout, mode
    return set_up(config)


def scalings(net: Net, batch: int, each: int) -> dict[str, Callable[[int, str], Run]]:
    """Kind of scaling -> (devices, mode) -> run.

    Args:
      net: the net.
      batch: images of a batch, where it is divided or each device has its own.
      each: images of a device in weak scaling.
    """
    return {
        f"strong: batch {batch}": lambda d, mode: run_of(
            net, f"data={d}", mode, batch=batch
        ),
        f"weak: {each} images a device": lambda d, mode: run_of(
            net, f"data={d}", mode, batch=each * d
        ),
        f"seeds: one a device, batch {batch}": lambda d, mode: run_of(
            net, f"seed={d}", mode, batch=batch, seeds=d
        ),
    }


def measured(case: str, make: Callable, counts: list[int], rounds: int) -> list[Row]:
    """Rows of one kind of scaling, with the efficiency as a note."""
    ways = {ONE: training(make(1, "jit"))}
    devices = {ONE: 1}
    for mode in MODES:
        for count in counts:
            way = f"{count} devices, {mode}"
            ways[way], devices[way] = training(make(count, mode)), count
    times = interleave(ways, rounds=rounds)
    grows = not case.startswith("strong")
    notes = {}
    for way, own in times.items():
        # Work relative to one device, divided by the number of devices and the time.
        work = devices[way] if grows else 1
        efficiency = work / devices[way] / own.ratio_to(times[ONE])[0]
        share = collective_share(ways[way], devices[way])
        notes[way] = f"efficiency {efficiency:.0%}, in collectives {share:.0%}"
    return rows_of(case, times, ONE, unit="step", units=STEPS, notes=notes)


def training(run: Run) -> Callable[[], None]:
    """A function that runs some steps in one dispatch."""
    state = initial_state(run)
    programs = compile_programs(run, state)
    holder = [run.parallel.put(state)]

    def advance():
        holder[0], _ = programs.advance(holder[0], 0, STEPS)
        jax.block_until_ready(holder[0])

    return advance


def collective_share(advance: Callable[[], None], num_devices: int) -> float:
    """Fraction of the devices' time in a dispatch spent in collective operations."""
    with profiled() as events:
        start = time.perf_counter()
        advance()
        seconds = time.perf_counter() - start
    return collective_seconds(events) / (num_devices * seconds)
