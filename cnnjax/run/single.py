"""One run by itself, and the evaluation of one that is on disk."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.table import Table

from cnnjax.config import from_dict, with_new_keys
from cnnjax.data.contents import split_lines
from cnnjax.devices.compile_cache import use_compile_cache
from cnnjax.errors import UserError, printable, unknown_name
from cnnjax.interrupt import Stopped, catching_signals
from cnnjax.record_kinds import WHOLE_CONFIG
from cnnjax.records import is_there, no_run, read_record
from cnnjax.run.cautions import cautions
from cnnjax.run.checkpoints.manager import Checkpoints
from cnnjax.run.checkpoints.restore import restore_latest
from cnnjax.run.delivery import delivery_of
from cnnjax.run.folder import RunFolder, refuse_without_weights
from cnnjax.run.images.balance import balance_lines
from cnnjax.run.images.prepare import sample_lines
from cnnjax.run.images.views import check_views
from cnnjax.run.loop import fit, require_some_success
from cnnjax.run.outcome import in_words
from cnnjax.run.programs import compile_programs, memory
from cnnjax.run.progress import Progress
from cnnjax.run.settings import STATISTICS, EvalSettings, geometry_of
from cnnjax.run.setup import SPLITS, Run, saved_example, set_up
from cnnjax.run.starting.words import start_lines
from cnnjax.screen import plain, say, show
from cnnjax.training.average import statistics_used
from cnnjax.training.evaluate import not_finite
from cnnjax.training.state import TrainState, weights_of

WEIGHTS = ("last", "best", "ema")


def train(config: ConfigDict, workdir: Path, name: str) -> int:
    """Trains with a live display and prints the errors; returns an exit code."""
    use_compile_cache()
    run = set_up(config)
    with catching_signals() as stop, Progress({name: run.load()}) as progress:
        for line in split_lines(run.dataset):
            progress.say(line)
        if run.parallel.layout.num_devices > 1:
            progress.say(run.laid_out())
        for line in (*sample_lines(run), *start_lines(run)):
            progress.say(line)
        for sentence in cautions(run).values():
            progress.say(f"note: {sentence}")
        progress.prepare_run(name)
        try:
            results = fit(
                run,
                workdir,
                name=name,
                progress=progress,
                stop=stop,
                warn=progress.say,
            )
        except Stopped as stopped:
            progress.say(f"{stopped}; the same command resumes from there")
            return stop.exit_code
    require_some_success(results)
    done = [result for result in results if result["status"] == "done"]
    print_errors({r["seed"]: r["final"] for r in done}, run.dataset.note)
    # Results of earlier versions do not have it.
    if evaluated := done[0].get("evaluated"):
        say(f"evaluated with {in_words(evaluated)}")
    for result in results:
        if result["status"] == "failed":
            say(f"seed {result['seed']} failed: {result['reason']}")
    say(f"results in {printable(workdir)}")
    return 0


def print_dry_run(config: ConfigDict) -> int:
    """Compiles a run and prints its layout over devices and the memory it takes."""
    use_compile_cache()
    run = set_up(config)
    for line in split_lines(run.dataset):
        say(line)
    say(run.laid_out())
    table = Table(title="memory on each device, MiB")
    titles = ("program", "arguments", "results", "temporary", "next images", "together")
    for title in titles:
        table.add_column(title, justify="left" if title == "program" else "right")
    for program, sizes in memory(run).items():
        table.add_row(program, *(f"{size / 2**20:,.1f}" for size in sizes.values()))
    show(table)
    say(
        f"{run.num_params:,} parameters, {len(run.seeds)} seeds, {run.total_steps:,} "
        "steps; arguments are the state of the seeds of a device and "
        + delivery_of(run).takes
    )
    for line in (*balance_lines(run), *sample_lines(run), *start_lines(run)):
        say(line)
    for sentence in cautions(run).values():
        say(f"note: {sentence}")
    return 0


def evaluate(
    workdir: Path,
    *,
    weights: str,
    statistics: str,
    data_dir: str,
    views: Mapping[str, Any] | None = None,
) -> int:
    """Evaluates the newest checkpoint of a run and prints the errors.

    Args:
      workdir: folder of a run (one arm of an ablation is one).
      weights: 'last' (once called 'final'), 'best' (on validation) or 'ema'.
      statistics: 'running', 'precise' or 'batch'; '' for those of the config.
      data_dir: '' for that of the config.
      views: keys of `Views` in place of those of the config.

    Returns:
      Exit code.

    Raises:
      UserError: no run there, no checkpoint, or no such weights in it.
    """
    weights = "last" if weights == "final" else weights
    if weights not in WEIGHTS:
        raise unknown_name("weights", weights, WEIGHTS, "--weights")
    if statistics not in ("", *STATISTICS):
        raise unknown_name("statistics", statistics, STATISTICS, "--statistics")
    path = workdir / "config.json"
    if not is_there(path):
        raise no_run(workdir, "a training or of one arm", ("config.json",))
    refuse_without_weights(workdir)
    config = stored_config(path)
    if data_dir:
        config.data.data_dir = data_dir
    use_compile_cache()
    run = trained = set_up(config, trained=workdir)
    folder = RunFolder(workdir, trained, workdir.name)  # checked as it was trained
    changes = dict(views or {}) | ({"statistics": statistics} if statistics else {})
    if changes:
        settings = dataclasses.replace(run.eval, **changes)
        run = dataclasses.replace(run, eval=settings)
        of_eval = settings, geometry_of(config)
        check_views(*of_eval, run.model, run.declared, run.dataset.image_shape)
    start = saved_example(run)
    damaged: list[str] = []
    with Checkpoints(
        workdir / "checkpoints", keep_last=None, warn=damaged.append
    ) as checkpoints:
        found = restore_latest(checkpoints, run, start, folder.check_metadata)
    if found is None:
        why = "all are damaged" if damaged else _why_none(folder)
        raise UserError(
            f"{workdir} holds no whole checkpoint ({why}): train with this --workdir"
        )
    for sentence in damaged:
        say(sentence)
    step, tree, metadata = found
    programs = compile_programs(run, start["state"])
    params, model_state = run.parallel.put(choose_weights(tree, weights))
    model_state = programs.final_statistics(params, model_state)
    rows = programs.evaluate(params, model_state, SPLITS, final=True)
    evaluated = _evaluated(run, trained.eval, weights)
    words = described(run, weights, evaluated, step, metadata["loop"])
    say(f"{printable(workdir)}: {words}")
    by_seed = {
        seed: {split: of_split[i] for split, of_split in rows.items()}
        for i, seed in enumerate(run.seeds)
    }
    print_errors(by_seed, run.dataset.note)
    return _print_failures(by_seed)


def _evaluated(run: Run, trained: EvalSettings, weights: str) -> dict[str, str | None]:
    """As `Run.evaluated`, for weights of a checkpoint.

    Args:
      run: with the statistics that were asked for now.
      trained: settings while it was trained.
      weights: of `WEIGHTS`.
    """
    kind = {"last": "raw", "ema": "ema", "best": trained.weights}[weights]
    used = statistics_used(run.eval.statistics, kind, final=True)
    if weights == "best" and used not in ("precise", "batch"):
        used = statistics_used(
            trained.statistics, kind, final=False
        )  # which are kept with them
    keeps_any = "batch_stats" in run.declared
    found = {"weights": kind, "statistics": used if keeps_any else None}
    views = run.views.words
    return found | ({"views": views} if views else {})


def _print_failures(by_seed: dict[int, dict[str, dict[str, Any]]]) -> int:
    """Names the seeds whose evaluation is not finite; gives the exit code."""
    found = {seed: not_finite(rows) for seed, rows in by_seed.items()}
    failed = {seed: reason for seed, reason in found.items() if reason}
    for seed, reason in failed.items():
        say(f"seed {seed} failed: {reason}")
    return 1 if failed else 0


def _why_none(folder: RunFolder) -> str:
    """Why a run has no checkpoint."""
    results = folder.finished_results() or []
    failed = [result["reason"] for result in results if result["status"] == "failed"]
    return f"its training failed: {failed[0]}" if failed else "there is none yet"


def described(
    run: Run,
    weights: str,
    evaluated: dict[str, str | None],
    step: int,
    loop: dict[str, Any],
) -> str:
    """Which weights an evaluation is of, of which step, and with which statistics.

    Args:
      run: of `set_up`.
      weights: one of `WEIGHTS`.
      evaluated: as of `Run.evaluated`.
      step: of the checkpoint.
      loop: what the loop saved beside the weights.
    """
    of_step = f"step {step:,} of {run.total_steps:,}"
    unfinished = "training is not finished"
    if weights == "best":
        steps = sorted(set(loop["best_step"]))
        of_best = f"step {', '.join(f'{number:,}' for number in steps)}"
        kind = "averaged weights" if evaluated["weights"] == "ema" else "weights"
        words = [f"{kind} best on validation, of {of_best}"]
        if 0 in steps:
            words.append(
                "no validation so far, so those of step 0 are the initial ones"
            )
        unfinished += f" ({of_step})"
    else:
        name = "last weights" if weights == "last" else "averaged weights (ema)"
        words = [f"{name}, of {of_step}"]
    if evaluated["statistics"]:
        words.append(f"{evaluated['statistics']} statistics")
    if views := evaluated.get("views"):
        words.append(f"views of each image: {views}")
    if step < run.total_steps:
        words.append(unfinished)
    pairs = zip(run.seeds, loop["failed_at"], strict=True)
    if failed := [str(seed) for seed, at in pairs if at >= 0]:
        words.append(f"failed: seeds {', '.join(failed)}")
    return "; ".join(words)


def stored_config(path: Path) -> ConfigDict:
    """The config of a run, from its `config.json`."""
    return from_dict(with_new_keys(read_record(path, WHOLE_CONFIG)))


def choose_weights(tree: dict[str, Any], weights: str) -> tuple[Any, Any]:
    """(params, model_state) out of a checkpoint.

    Raises:
      UserError: it has no such weights.
    """
    state: TrainState = tree["state"]
    if weights == "best" and tree["best"] is None:
        raise UserError(
            "this run kept no best weights: it had config.eval.keep_best=False or no "
            "validation images"
        )
    if weights == "ema" and state.ema is None:
        raise UserError("this run kept no moving average: config.train.ema_decay was 0")
    if weights == "best":
        return tree["best"]
    return weights_of(state, "ema" if weights == "ema" else "raw")


def print_errors(by_seed: dict[int, dict[str, dict[str, Any]]], note: str) -> None:
    """Prints top-1 error, top-5 error and loss of each seed and split.

    Args:
      by_seed: seed -> split -> row of `divide`.
      note: caveat about the data; may be empty.
    """
    table = Table(caption=plain(note) or None)
    for title in ("seed", "split", "images", "error %", "top-5 error %", "loss"):
        table.add_column(title, justify="left" if title == "split" else "right")
    for seed, splits in by_seed.items():
        for split, row in splits.items():
            if row["count"]:
                table.add_row(
                    str(seed),
                    split,
                    f"{row['count']:,}",
                    f"{row['error']:.2f}",
                    _top5(row),
                    f"{row['loss']:.4f}",
                )
    show(table)


def _top5(row: dict[str, Any]) -> str:
    """The top-5 error; nothing where five guesses name every class."""
    few = 0 < len(row.get("per_class_accuracy", ())) <= 5
    return "-" if few else f"{row['top5_error']:.2f}"
