"""Trains or resumes the cells of a plan in this process, several at a time."""

import contextlib
import graphlib
import itertools
import os
import threading
import traceback
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.execute.changed import listed, say_changed
from cnnjax.ablation.execute.jobs import alone
from cnnjax.ablation.execute.taken import take_published
from cnnjax.ablation.judge.published import Published
from cnnjax.ablation.plan import Cell, Plan, refuse_other_configs, write_plan
from cnnjax.data.contents import source_lines
from cnnjax.data.dataset import Dataset, load_dataset
from cnnjax.devices.allocator import suit_heaps
from cnnjax.devices.available import is_accelerated
from cnnjax.devices.compile_cache import use_compile_cache
from cnnjax.devices.distributed import (
    check_together,
    max_over_processes,
    num_processes,
)
from cnnjax.devices.layout import ONE_DEVICE
from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped, StopRequest, catching_signals
from cnnjax.lock import LostError, TakenError
from cnnjax.records import is_writer, write_text
from cnnjax.run.cautions import cautions_of_arms
from cnnjax.run.folder import RunFolder
from cnnjax.run.heartbeat import check_claim, write_heartbeat
from cnnjax.run.loop import fit
from cnnjax.run.programs import shared_keys
from cnnjax.run.progress import Progress
from cnnjax.run.settings import data_request, pixels_of_batch
from cnnjax.run.setup import Run, set_up
from cnnjax.run.shared import Shared
from cnnjax.run.starting.origin import NoStart
from cnnjax.screen import say


def plan_on_cpu(num_devices: int) -> None:
    """Keeps the accelerators free, and plans for as many as each cell will have."""
    jax.config.update("jax_platforms", "cpu")
    if num_devices > 1:
        jax.config.update("jax_num_cpu_devices", num_devices)


def set_up_all(plan: Plan) -> dict[str, Run]:
    """Builds and checks the runs of all cells; reads equal data once."""
    data: dict[str, Dataset] = {}
    of_cells: list[tuple[Cell, Dataset]] = []
    for cell in parents_first(plan):
        key = cell.config.data.to_json() + cell.config.geometry.to_json()
        if key not in data:
            data[key] = load_dataset(data_request(cell.config))
            require_test_images(plan, data[key])
        of_cells.append((cell, data[key]))
    suit_heaps(max(pixels_of_batch(cell.config, found) for cell, found in of_cells))
    runs: dict[str, Run] = {}
    for cell, dataset in of_cells:
        # The weights that a cell starts from may not be trained yet.
        parent = runs[cell.after[0]] if cell.after else None
        runs[cell.name] = set_up(cell.config, dataset, parent)
    return {cell.name: runs[cell.name] for cell in plan.cells}


def parents_first(plan: Plan) -> list[Cell]:
    """The cells, each behind those whose weights it starts from."""
    by_name = {cell.name: cell for cell in plan.cells}
    graph = {cell.name: set(cell.after) for cell in plan.cells}
    order = graphlib.TopologicalSorter(graph).static_order()
    return [by_name[name] for name in order]


def require_test_images(plan: Plan, dataset: Dataset) -> None:
    """Refuses data without test images where a claim or table needs them."""
    used = [*plan.ablation.metrics, *(claim.metric for claim in plan.ablation.claims)]
    paths = {METRICS[name].path for name in used}
    if not len(dataset.test) and any("test" in path for path in paths):
        raise UserError(
            f"{plan.ablation.name} compares test errors, and data {dataset.name} has "
            "no test images: hold out some of its training images with "
            "--set=data.num_test=N, or add a split of that name"
        )


def run_ablation(plan: Plan, *, jobs: int, published: Published | None = None) -> int:
    """Trains every cell that is not done yet.

    Args:
      plan: of `make_plan`.
      jobs: cells at a time; 0 for one per CPU core, or one on an accelerator.
      published: runs that need not be trained.

    Returns:
      An exit code: 0, 1 if a cell crashed, 128 + the signal that interrupted it.

    Raises:
      UserError: an error that concerns all cells, such as a full disk, or another
        process that trains them.
    """
    use_compile_cache()
    runs = set_up_all(plan)
    refuse_other_configs(plan)  # before a folder is made
    with alone(plan.workdir, say) if is_writer() else contextlib.nullcontext():
        check_together(lambda: take_published(plan, runs, published))
        return _train(plan, runs, jobs)


def _train(plan: Plan, runs: dict[str, Run], jobs: int) -> int:
    write_plan(plan, {name: facts(run) for name, run in runs.items()})
    # All processes must train the same cells.
    todo = {name: runs[name] for name in unfinished(plan, runs)}
    jobs = jobs or (1 if is_accelerated() else os.cpu_count() or 1)
    laid_out = {r.laid_out() for r in runs.values() if r.parallel.layout != ONE_DEVICE}
    if num_processes() > 1 or any(r.parallel.layout.data > 1 for r in runs.values()):
        jobs = 1  # processes and devices that synchronise need the same order of work
    todo = in_order(todo, {cell.name: cell.after for cell in plan.cells})
    loads = {name: run.load() for name, run in todo.items()}
    with catching_signals() as stop, Progress(loads, jobs=jobs) as progress:
        datasets = [source_lines(run.dataset) for run in runs.values()]
        for words in itertools.chain.from_iterable(dict.fromkeys(map(tuple, datasets))):
            progress.say(words)  # line by line: a sentence has one
        for words in sorted(laid_out):
            progress.say(words)
        for sentence in cautions_of_arms(todo):
            progress.say(f"note: {sentence}")
        if len(todo) < len(runs):
            progress.say(
                f"{len(runs) - len(todo)} of {len(runs)} cells are already done"
            )
        try:
            run_cells(plan, todo, jobs, progress, stop)
        except Stopped:
            progress.say("interrupted; the same command resumes")
            return stop.exit_code
        changed = say_changed(plan, runs, progress.say) if is_writer() else 0
        return max(exit_code(plan, runs, progress.say), max_over_processes(changed))


def exit_code(plan: Plan, runs: dict[str, Run], say: Callable[[str], None]) -> int:
    """0 if every cell has results, of whatever kind; 1 if one crashed or has none."""
    lacking = unfinished(plan, runs)
    if not lacking:
        return 0
    after = {cell.name: cell.after for cell in plan.cells}
    waiting = [name for name in lacking if set(after.get(name, ())) & set(lacking)]
    words = f"; not started, as what they start from is unfinished: {listed(waiting)}"
    say(
        f"{len(lacking)} of {len(runs)} cells have no result ({lacking[0]} is the "
        f"first): the same command tries them again{words if waiting else ''}"
    )
    return 1


def in_order(
    runs: dict[str, Run], after: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> dict[str, Run]:
    """Groups runs that share programs; large groups and long runs come first.

    So no core waits for a last long run, and few programs are in memory at a time.
    Runs that start from others come behind all of them.

    Args:
      runs: of cells.
      after: cell -> the cells whose weights it starts from.
    """

    def depth(name: str) -> int:
        return 1 + max(map(depth, after.get(name, ())), default=-1)

    levels: dict[int, dict[str, Run]] = defaultdict(dict)
    for name, run in runs.items():
        levels[depth(name)][name] = run
    found: dict[str, Run] = {}
    for level in sorted(levels):
        found |= _by_program(levels[level])
    return found


def _by_program(runs: dict[str, Run]) -> dict[str, Run]:
    groups: dict[Hashable, dict[str, Run]] = defaultdict(dict)
    for name in sorted(runs, key=lambda name: -runs[name].work()):
        groups[shared_keys(runs[name])][name] = runs[name]
    longest_first = sorted(
        groups.values(), key=lambda group: -sum(run.work() for run in group.values())
    )
    return {name: run for group in longest_first for name, run in group.items()}


def run_cells(
    plan: Plan, runs: dict[str, Run], jobs: int, progress: Progress, stop: StopRequest
) -> None:
    """Trains the given cells in threads.

    XLA releases Python's lock while it compiles and computes, and small nets do not
    keep two cores busy: two cells in parallel take little more time than one. Equal
    data and programs are shared; see `shared_keys`.
    """
    shared = Shared(key for run in runs.values() for key in shared_keys(run))
    after = {cell.name: cell.after for cell in plan.cells}
    ended = {name: threading.Event() for name in runs}

    def cell(name: str, run: Run) -> None:
        try:
            train(name, run)
        finally:
            ended[name].set()

    def train(name: str, run: Run) -> None:
        for parent in after.get(name, ()):
            # Submitted earlier, so it runs or has ended.
            while parent in ended and not ended[parent].wait(0.1) and not stop:
                pass
        if stop:
            raise Stopped(name)
        check_claim(plan.workdir)  # or the folder would be made anew
        folder = plan.workdir / name
        parents = {key: runs[key] for key in after.get(name, ()) if key in runs}
        if lacking := unfinished(plan, parents):
            reason = refuse_start(RunFolder(folder, run, name), lacking[0])
            progress.say(f"{name} is {reason}")
            return
        train_cell(folder, name, run, progress, stop, shared)

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(cell, name, run) for name, run in runs.items()]
        done, waiting = wait_for(futures)
        for future in waiting:
            future.cancel()
        if any(future.exception() for future in done):
            # An error that concerns all cells: let the running ones save and end.
            stop.set(0)
    errors = [future.exception() for future in futures if not future.cancelled()]
    # The error is why the others were interrupted, so it is raised first.
    for error in sorted(filter(None, errors), key=lambda e: isinstance(e, Stopped)):
        raise error
    check_claim(plan.workdir)  # or the report would be of a folder made anew


def wait_for(futures: list[Future]) -> tuple[set[Future], set[Future]]:
    """Waits until all are done or one has raised; returns the done and the waiting.

    It wakes up regularly: only this thread runs Python's signal handlers, and a signal
    that the system delivers to another thread does not wake it.
    """
    while True:
        done, waiting = wait(futures, timeout=0.5, return_when=FIRST_EXCEPTION)
        if not waiting or any(future.exception() for future in done):
            return done, waiting


def train_cell(
    folder: Path,
    name: str,
    run: Run,
    progress: Progress,
    stop: StopRequest,
    shared: Shared,
) -> None:
    """Trains one cell; a crash in it is recorded and does not end the others."""
    progress.prepare_run(name)
    try:
        fit(
            run,
            folder,
            name=name,
            progress=progress,
            stop=stop,
            warn=progress.say,
            shared=shared,
        )
    except NoStart as error:
        _record_crash(folder, name, run, str(error), progress)
    except (TakenError, LostError) as error:
        if num_processes() > 1:  # which all train the same cells
            raise
        # Its folder is another's now, or gone with all others: nothing is written.
        with contextlib.suppress(OSError):
            folder.parent.rmdir()  # of a gone one, if a save has made it anew
        progress.say(f"{name} is left out: {error}")
    except (Stopped, UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also SystemExit, of a library or a model
        reason = f"{type(error).__name__}: {first_line(str(error))}"
        _record_crash(folder, name, run, reason, progress)
    finally:
        shared.done(shared_keys(run))


def _record_crash(
    folder: Path, name: str, run: Run, reason: str, progress: Progress
) -> None:
    """Writes down why a cell ended, from where the error is handled."""
    write_text(folder / "crash.txt", traceback.format_exc())
    write_heartbeat(folder, "crashed", reason=reason)
    progress.say(f"{name} crashed and is marked failed: {reason}")
    records = RunFolder(folder, run, name)
    records.write_results([records.crashed(seed, reason) for seed in run.seeds])


def refuse_start(folder: RunFolder, parent: str) -> str:
    """Marks a cell as failed whose weights are not trained yet; gives the reason.

    The weights that an unfinished run has by now are no start: the cell would count as
    done for ever.
    """
    reason = f"not started: {parent}, from whose weights it starts, is unfinished"
    write_heartbeat(folder.path, "crashed", reason=reason)
    folder.write_results([folder.crashed(seed, reason) for seed in folder.run.seeds])
    return reason


def first_line(text: str) -> str:
    """The first line that says anything."""
    lines = (line.strip() for line in text.splitlines())
    return next(filter(None, lines), "no reason given")


def unfinished(plan: Plan, runs: Mapping[str, Run]) -> list[str]:
    """Names of the cells that lack a result, in any process."""
    return [
        name
        for name, run in runs.items()
        if max_over_processes(not is_done(plan, name, run))
    ]


def is_done(plan: Plan, name: str, run: Run) -> bool:
    """Whether all seeds of a cell already have a result."""
    return RunFolder(plan.workdir / name, run, name).finished_results() is not None


def facts(run: Run) -> dict[str, Any]:
    """The entries of `plan.json` about an arm."""
    return {
        "num_params": run.num_params,
        "multiply_adds": run.multiply_adds,
        "steps": run.total_steps,
        "epochs": round(run.total_steps / run.steps_per_epoch, 4),
    }
