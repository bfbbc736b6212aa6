"""How many devices go to the seeds and how many to each batch: arithmetic alone.

An argument of a program is of one of these kinds:

    SEEDS   arrays with a leading seed axis, which a group of devices has for its seeds
    STREAM  likewise, [S, steps, N, ...]: each device has its images alone
    BATCHES [batches, N, ...], the same for all seeds: each device has its images alone
    DATA    arrays that are placed on every device once
    HOST    numbers and small NumPy arrays that come with each call
"""

import dataclasses
import re
from collections.abc import Callable

from cnnjax.errors import UserError, shown

SEEDS, STREAM, BATCHES, DATA, HOST = "seeds", "stream", "batches", "data", "host"
# Over which axis of the layout the axes of an argument are divided.
AXES = {
    SEEDS: ("seed",),
    STREAM: ("seed", None, "data"),
    BATCHES: (None, "data"),
    DATA: (),
    HOST: (),
}
# The planner gives a device no fewer images of a batch than this: below it a device
# mostly waits for the others. A layout given by the user may go below.
FEWEST_IMAGES = 8


@dataclasses.dataclass(frozen=True)
class Layout:
    """`seed` groups of `data` devices: a group trains its seeds one batch at a time.

    Args:
      seed: groups; each trains num_seeds / seed of the seeds, and they do not
        communicate.
      data: devices of a group; each computes batch_size / data of the images.
    """

    seed: int = 1
    data: int = 1

    @property
    def num_devices(self) -> int:
        return self.seed * self.data

    def __str__(self) -> str:
        return f"seed={self.seed},data={self.data}"


ONE_DEVICE = Layout()


def parse_layout(text: str) -> Layout:
    """'seed=4,data=2' (one of the two may be left out) -> Layout.

    Raises:
      UserError: anything else.
    """
    sizes = dict(re.findall(r"(seed|data)=([1-9]\d*)(?:,|$)", text))
    if not sizes or str(text).count("=") != len(sizes):
        raise UserError(
            f"config.parallel.layout is {shown(text)} but must be 'auto' or numbers of "
            "devices such as 'seed=4,data=2', 'seed=8' or 'data=8' (--parallel.layout)"
        )
    return Layout(**{axis: int(size) for axis, size in sizes.items()})


def choose_layout(
    text: str,
    *,
    num_devices: int,
    num_seeds: int,
    batch_size: int,
    microbatches: int,
    num_processes: int = 1,
    refuse: Callable[[int], str | None] = lambda data: None,
) -> Layout:
    """The layout that is asked for, checked, or the one that keeps most devices busy.

    Of layouts with as many devices, the one with more seeds side by side is taken,
    because seeds do not wait for each other.

    Args:
      text: 'auto' or as in `parse_layout`.
      num_devices: devices to divide.
      num_seeds: seeds of the run.
      batch_size: images a step.
      microbatches: of a batch, which a device computes one after another.
      num_processes: each must have the same number of the devices.
      refuse: why a number of devices per batch will not do, or None.

    Raises:
      UserError: a layout that does not fit, with the numbers that would.
    """
    if text != "auto":
        layout = parse_layout(text)
        _check(layout, num_devices, num_seeds, batch_size, microbatches)
        if layout.num_devices % num_processes:
            raise UserError(
                f"config.parallel.layout '{layout}' takes {layout.num_devices} "
                f"devices, which do not divide over {num_processes} processes: change "
                "--parallel.layout or the number of processes"
            )
        if reason := refuse(layout.data):
            raise UserError(reason)
        return layout
    fitting = []
    for seed in _divisors(num_seeds, num_devices):
        for data in _divisors(batch_size // microbatches, num_devices // seed):
            images = batch_size // microbatches // data
            enough = data == 1 or images >= FEWEST_IMAGES
            equal = seed * data % num_processes == 0
            if enough and equal and refuse(data) is None:
                fitting.append(Layout(seed, data))
    if not fitting:
        raise UserError(
            f"{num_seeds} seeds and batches of {batch_size} images cannot be divided "
            f"over {num_processes} processes: change the number of processes, --seeds "
            "or config.train.batch_size, or give a --parallel.layout"
        )
    return max(fitting, key=lambda layout: (layout.num_devices, layout.seed))


def _check(layout, num_devices, num_seeds, batch_size, microbatches) -> None:
    if num_seeds % layout.seed:
        raise UserError(
            f"{num_seeds} seeds do not divide over the {layout.seed} groups of layout "
            f"'{layout}': the nearest numbers of seeds that do are "
            f"{nearest(num_seeds, layout.seed)} (--seeds), and the numbers of groups "
            f"for {num_seeds} seeds are {_words(_divisors(num_seeds, num_seeds))} "
            "(config.parallel.layout, --parallel.layout)"
        )
    unit = layout.data * microbatches
    if batch_size % unit:
        of = f" in {microbatches} micro-batches" if microbatches > 1 else ""
        raise UserError(
            f"a batch of {batch_size} images{of} does not divide over the "
            f"{layout.data} devices of layout '{layout}': the nearest batch sizes that "
            f"do are {nearest(batch_size, unit)} (config.train.batch_size), and the "
            f"numbers of devices for {batch_size} are "
            f"{_words(_divisors(batch_size // microbatches, batch_size))} "
            "(config.parallel.layout, --parallel.layout)"
        )
    if layout.num_devices > num_devices:
        raise UserError(
            f"config.parallel.layout '{layout}' takes {layout.num_devices} devices and "
            f"there are {num_devices}: lower --parallel.layout or add devices"
        )


def describe(layout: Layout, mode: str, num_seeds: int, batch_size: int) -> str:
    """What a layout means for a run, in one line."""
    groups = f"{layout.seed} groups train {num_seeds // layout.seed} of {num_seeds} "
    seeds = f"{groups}seeds each, " if layout.seed > 1 else ""
    images = batch_size // layout.data
    return (
        f"{layout.num_devices} devices, layout {layout}, mode {mode}: {seeds}each "
        f"device computes {images} images of a batch of {batch_size}"
    )


def nearest(number: int, unit: int) -> str:
    """The multiples of `unit` around a number, in words."""
    below, above = number // unit * unit, -(-number // unit) * unit
    return f"{below} and {above}" if below else f"{above}"


def _divisors(number: int, largest: int) -> list[int]:
    return [d for d in range(1, min(number, largest) + 1) if number % d == 0]


def _words(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
