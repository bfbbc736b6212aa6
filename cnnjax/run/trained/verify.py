"""Evaluates the weights that a run kept, and compares with what it reported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnjax.record_kinds import CLOSE, DIFFERENT, EXACT, UNVERIFIED
from cnnjax.run.checkpoints.manager import Checkpoints
from cnnjax.run.checkpoints.restore import restore_latest
from cnnjax.run.folder import RunFolder
from cnnjax.run.programs import compile_programs
from cnnjax.run.setup import SPLITS, Run, saved_example, set_up
from cnnjax.run.single import stored_config
from cnnjax.seal import result_digest

# What rounding may make, in points of an error rate and as a share of a loss: another
# device, version or processor, another way to execute a step, or sums of an accelerator
# in an order that changes.
POINTS, SHARE = 0.5, 1e-3


def verify_run(folder: Path, name: str, data_dir: str = "") -> list[dict[str, Any]]:
    """Evaluates the last and the best weights of all seeds again.

    Args:
      folder: of a run.
      name: of it, as its results have it.
      data_dir: '' for that of the config.

    Returns:
      For each seed 'seed', 'digest' of its result, 'outcome' and 'detail', as
      `verified.json` has them.

    Raises:
      UserError: its files or its data cannot be read, or are of another run.
    """
    config = stored_config(folder / "config.json")
    if data_dir:
        config.data.data_dir = data_dir
    run = set_up(config, trained=folder)
    records = RunFolder(folder, run, name)
    results = records.finished_results()
    if results is None:
        return []
    found = _evaluated(run, folder, records)
    if isinstance(found, str):
        return [_row(result, UNVERIFIED, found) for result in results]
    return [_compared(result, found[i]) for i, result in enumerate(results)]


def _evaluated(
    run: Run, folder: Path, records: RunFolder
) -> list[dict[str, Any]] | str:
    """Name -> row of an evaluation, of each seed; or why there is none."""
    start = saved_example(run)
    damaged: list[str] = []
    if not (folder / "checkpoints").is_dir():
        return "its weights were not kept"
    with Checkpoints(
        folder / "checkpoints", keep_last=None, warn=damaged.append
    ) as checkpoints:
        found = restore_latest(checkpoints, run, start, records.check_metadata)
    if found is None:
        return "its weights are damaged" if damaged else "its weights were not kept"
    step, tree, _ = found
    if step != run.total_steps:
        return f"the newest whole weights are of step {step:,} of {run.total_steps:,}"
    programs = compile_programs(run, start["state"])
    try:
        state, best = run.parallel.put(tree["state"]), run.parallel.put(tree["best"])
        rows = _rows(programs, programs.weights(state), SPLITS, "final")
        if best is not None:
            rows |= _rows(programs, best, ("test",), "best")
    finally:
        programs.close()
    return [{key: of[i] for key, of in rows.items()} for i in range(len(run.seeds))]


def _rows(
    programs: Any, weights: tuple[Any, Any], splits: tuple[str, ...], of: str
) -> dict[str, list[dict[str, Any]]]:
    params, model_state = weights
    settled = programs.final_statistics(params, model_state)
    rows = programs.evaluate(params, settled, splits, final=True)
    return {f"{of}.{split}": by_seed for split, by_seed in rows.items()}


def _compared(
    result: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    if result["status"] != "done":
        return _row(result, UNVERIFIED, "it failed")
    reported = {
        f"final.{split}": row for split, row in (result.get("final") or {}).items()
    }
    if result.get("best"):
        reported["best.test"] = result["best"]["test"]
    outcome = EXACT
    for name, old in reported.items():
        for key in ("count", "error", "top5_error", "loss"):
            was, now = old.get(key), rows.get(name, {}).get(key)
            if was == now:
                continue
            outcome = CLOSE
            if not _is_close(key, was, now):
                detail = f"{name}.{key} is {now}, and {was} was reported"
                return _row(result, DIFFERENT, detail)
    return _row(result, outcome, "")


def _is_close(key: str, was: Any, now: Any) -> bool:
    if was is None or now is None or key == "count":
        return False
    if key == "loss":
        return abs(now - was) <= SHARE * max(abs(was), 1e-3)
    return abs(now - was) <= POINTS


def _row(result: Mapping[str, Any], outcome: str, detail: str) -> dict[str, Any]:
    return {
        "seed": result["seed"],
        "digest": result_digest(result),
        "outcome": outcome,
        "detail": detail,
    }
