"""Estimates what a plan would train and how long it takes, without training."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich import box
from rich.console import Console
from rich.table import Table

from cnnjax.ablation.execute.inline import parents_first, require_test_images
from cnnjax.ablation.execute.needs import needs, sentences
from cnnjax.ablation.execute.taken import takeable
from cnnjax.ablation.judge.published import Published
from cnnjax.ablation.plan import Plan, load_ablation, make_plan
from cnnjax.config import BEFORE, override
from cnnjax.data.contents import source_lines
from cnnjax.data.dataset import Dataset
from cnnjax.data.published_sizes import describe_dataset
from cnnjax.data.standardize import STANDARDIZE
from cnnjax.devices.available import is_accelerated
from cnnjax.devices.speed import Speed, machine_speed
from cnnjax.errors import UserError
from cnnjax.run.cautions import cautions_of_arms
from cnnjax.run.provenance import processor
from cnnjax.run.settings import data_request
from cnnjax.run.setup import Run, set_up
from cnnjax.screen import say, show, terminal
from cnnjax.start.section import WEIGHTS_KEYS
from cnnjax.texts import one_line

# Of the time in which the programs of training are compiled. A probe looks at each
# layer by itself, so that equal blocks are compiled one by one.
PROBE_SHARE = 1.0


@dataclasses.dataclass(frozen=True)
class ArmEstimate:
    """The runs of one arm.

    Attributes:
      arm: name.
      num_runs: number of seeds, times the number of folds.
      steps: of each run.
      epochs: of each run.
      num_params: parameters of the net.
      multiply_adds: forward pass of one image.
      work: multiply-adds of all its runs.
      variables: of the net, blocks counted one by one.
      num_probes: what is measured beside errors.
      num_cells: of which each is compiled.
    """

    arm: str
    num_runs: int
    steps: int
    epochs: float
    num_params: int
    multiply_adds: int
    work: float
    variables: int = 1
    num_probes: int = 0
    num_cells: int = 1

    def narrow_seconds(self, speed: Speed) -> float:
        """Compiling, and what a narrow net takes beside its multiply-adds, on a core.

        A probe counts like the programs of training.
        """
        programs = self.num_cells * (1 + PROBE_SHARE * self.num_probes)
        steps = self.steps * self.num_runs * self.variables * speed.layer_seconds
        return programs * speed.start_seconds(self.variables) + steps

    def seconds(self, speed: Speed) -> float:
        """Of all runs of the arm, alone on the machine."""
        return self.work / speed.rate + self.narrow_seconds(speed)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A whole plan.

    Attributes:
      arms: in the order of the plan.
      notes: sentences on missing data, or on settings that look like mistakes.
      is_declared: whether data is missing, and its published sizes were used.
      data: the content of the sources that are there.
    """

    arms: tuple[ArmEstimate, ...]
    notes: tuple[str, ...]
    is_declared: bool
    data: tuple[str, ...] = ()

    @property
    def num_runs(self) -> int:
        return sum(arm.num_runs for arm in self.arms)

    @property
    def work(self) -> float:
        """Multiply-adds."""
        return sum(arm.work for arm in self.arms)

    def seconds(self, speed: Speed, jobs: int) -> float:
        """Of all arms: narrow nets and compilers keep one core busy each.

        Args:
          speed: of the machine.
          jobs: arms at a time.
        """
        todo = [arm for arm in self.arms if arm.num_runs]
        longest = max((arm.seconds(speed) for arm in todo), default=0.0)
        shared = sum(arm.narrow_seconds(speed) for arm in todo) / jobs
        return max(longest, self.work / speed.rate + shared)


def estimate(plan: Plan, published: Published | None = None) -> Estimate:
    """Traces the net of every arm once; reads no image.

    Args:
      plan: of `make_plan`.
      published: a report whose runs are taken where they fit; those cost nothing.

    Raises:
      UserError: an error that training would raise as well.
    """
    taken = takeable(plan, published)
    data: dict[str, tuple[Dataset, str]] = {}
    found: dict[str, ArmEstimate] = {}
    runs: dict[str, Run] = {}
    lacking: dict[str, None] = {}
    order = {cell.arm.name: cell.arm for cell in parents_first(plan)}
    for arm in order.values():
        cells = [cell for cell in plan.cells if cell.arm.name == arm.name]
        config = _for_planning(cells[0].config)
        if config.start.weights and not (arm.starts_from or config.start.folder):
            lacking[config.start.weights] = None
            override(config, {"start.weights": "", **WITHOUT_START})
        key = config.data.to_json() + config.geometry.to_json()
        if key not in data:
            data[key] = describe_dataset(data_request(config))
            require_test_images(plan, data[key][0])
        parent = runs.get(arm.starts_from)
        run = runs[arm.name] = set_up(config, data[key][0], parent)
        num_runs = sum(len(cell.seeds) for cell in cells if cell.name not in taken)
        found[arm.name] = ArmEstimate(
            arm=arm.name,
            num_runs=num_runs,
            steps=run.total_steps,
            epochs=run.total_steps / run.steps_per_epoch,
            num_params=run.num_params,
            multiply_adds=run.multiply_adds,
            work=run.work() / len(run.seeds) * num_runs,
            variables=run.load().layers,
            num_probes=len(cells[0].config.eval.probes),
            num_cells=sum(cell.name not in taken for cell in cells),
        )
    arms = [found[arm.name] for arm in plan.arms]
    absent = dict.fromkeys(note for _, note in data.values() if note)
    gone = [f"start weights {name} not found: planned without" for name in lacking]
    notes = (*absent, *gone, *(f"note: {words}" for words in cautions_of_arms(runs)))
    if published:
        num_taken = sum(len(cell.seeds) for cell in plan.cells if cell.name in taken)
        notes += (
            f"{num_taken} runs are taken from {published.name} if their data is that "
            "of this machine; they are not counted here",
        )
    # Arms may use different parts of one source.
    lines = dict.fromkeys(
        "\n".join(source_lines(dataset)) for dataset, note in data.values() if not note
    )
    return Estimate(tuple(arms), notes, bool(absent), tuple(lines))


# What a run without start weights may not set.
WITHOUT_START = {key: BEFORE[key] for key in BEFORE if key in WEIGHTS_KEYS}


def _for_planning(config: ConfigDict) -> ConfigDict:
    """The config without the settings that read images or trace the net again."""
    config = ConfigDict(config.to_dict())
    override(config, {"eval.probes": ()})
    if callable(STANDARDIZE.get(config.augment.standardize)):
        override(config, {"augment.standardize": "none"})
    override(config, {"augment.pca_colour": 0.0})
    return config


def print_plan(
    plan: Plan,
    published: Published | None = None,
    most: int = 0,
    console: Console | None = None,
) -> None:
    """Prints the dry run: arms, time, the seeds that claims need; writes nothing.

    Args:
      plan: of `make_plan`.
      published: as of `estimate`.
      most: as of `needs`.
      console: where to print; the terminal if None.
    """
    console = console or terminal()
    found, speed = estimate(plan, published), machine_speed(processor())
    title = f"{plan.ablation.name}, scale {plan.scale}"
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("arm", overflow="fold")
    for column in ("runs", "steps", "epochs", "params", "mult-adds", "TFLOP", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    for arm in found.arms:
        table.add_row(
            arm.arm,
            str(arm.num_runs),
            f"{arm.steps:,}",
            f"{arm.epochs:.4g}",
            large(arm.num_params),
            large(arm.multiply_adds),
            tflop(arm.work),
            duration(arm.seconds(speed)),
        )
    show(table, console)
    for note in (*found.data, *found.notes):
        console.print(one_line(note), soft_wrap=True, markup=False, highlight=False)
    jobs = jobs_of(plan)
    total = (
        f"{found.num_runs} runs, {tflop(found.work)} TFLOP: about "
        f"{duration(found.seconds(speed, jobs))} on this machine, {jobs} at a time, "
        f"with compiling and probes, at a {rate_words(speed.rate)}. This is a rough "
        "estimate, and a warm cache of compiled programs shortens it."
    )
    console.print(total, soft_wrap=True, highlight=False)
    for words in sentences(*needs(plan, most)):
        console.print(words, soft_wrap=True, markup=False, highlight=False)


def jobs_of(plan: Plan) -> int:
    """Arms that train at a time in this process."""
    cores = 1 if is_accelerated() else os.cpu_count() or 1
    return plan.ablation.scale(plan.scale).jobs or cores


def rate_words(rate: float) -> str:
    """The measured speed of this machine."""
    return f"measured {2 * rate / 1e9:,.1f} GFLOP/s"


def large(count: float) -> str:
    """Formats a number with four digits: '19,074', '269.7 k', '40.55 M', '2.829 G'."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e5)):
        if count >= size:
            return f"{count / (1e3 if unit == 'k' else size):.4g} {unit}"
    return f"{count:,.0f}"


def tflop(work: float) -> str:
    """Formats multiply-adds as floating-point operations, in 10^12."""
    value = 2 * work / 1e12
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Formats seconds in a suitable unit: '42 s', '7.5 min', '3.1 h', '12 d'."""
    for unit, size, limit in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < size * limit:
            return f"{seconds / size:.3g} {unit}"
    days = seconds / 86400
    return f"{days:,.0f} d" if days >= 100 else f"{days:.3g} d"


def print_atlas(
    names: Sequence[str],
    root: Path,
    scale: str,
    say: Callable[[str], None] = say,
    **options: Any,
) -> int:
    """Prints the dry run of many ablations: a line each, and the totals.

    Args:
      names: of ablations.
      root: folder of runs.
      scale: of all.
      say: prints one line.
      **options: of `make_plan`, except `workdir`.

    Returns:
      0, or 1 if an ablation was refused, which is also printed.
    """
    speed, all_found = machine_speed(processor()), []
    for name in names:
        try:
            workdir = str(root / name / scale)
            plan = make_plan(load_ablation(name), scale, workdir=workdir, **options)
            found = estimate(plan)
        except UserError as error:
            say(f"{name}: refused: {error}")
            continue
        all_found.append((found, jobs_of(plan)))
        absent = " (published sizes of missing data)" if found.is_declared else ""
        say(f"{name}: {len(found.arms)} arms, {_totals(all_found[-1:], speed)}{absent}")
    say(f"all: {_totals(all_found, speed)}, at a {rate_words(speed.rate)}")
    return int(len(all_found) < len(names))


def _totals(all_found: Sequence[tuple[Estimate, int]], speed: Speed) -> str:
    work = sum(found.work for found, _ in all_found)
    seconds = sum(found.seconds(speed, jobs) for found, jobs in all_found)
    return (
        f"{sum(found.num_runs for found, _ in all_found):,} runs, {tflop(work)} TFLOP, "
        f"about {duration(seconds)} here"
    )
