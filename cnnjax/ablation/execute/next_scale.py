"""What to run after a quick answer: the command, what it adds, how long it takes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from cnnjax.ablation.execute.dry_run import PROBE_SHARE, duration, jobs_of
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.plan import Plan, make_plan
from cnnjax.errors import UserError, printable
from cnnjax.screen import say

# Scale -> the one with the whole answer, on the same kind of machine.
NEXT = {"quick": "laptop"}


def print_next(
    plan: Plan, definition: str, page: Path, say: Callable[[str], None] = say
) -> None:
    """Says where the report is and, after a quick scale, which command is next.

    Args:
      plan: what was run.
      definition: as given to `--ablation`.
      page: the report.
      say: prints a sentence.
    """
    say(f"report: {printable(page)}")
    if (larger := next_plan(plan)) is not None:
        command = f"./launch.sh ablate --ablation={definition} --scale={larger.scale}"
        seconds = seconds_of(plan, larger)
        took = f": about {duration(seconds)} here" if seconds is not None else ""
        say(f"next: {command} adds {', '.join(additions(plan, larger))}{took}")


def next_plan(plan: Plan) -> Plan | None:
    """The plan of the scale that follows; None where there is none."""
    scale = NEXT.get(plan.scale, "")
    if scale not in plan.ablation.scales:
        return None
    data_dir = plan.cells[0].config.data.data_dir
    options = {"num_seeds": None, "data_dir": data_dir, "changes": {}}
    try:
        return make_plan(plan.ablation, scale, workdir="", **options)
    except UserError:  # its folder holds something else
        return None


def additions(plan: Plan, larger: Plan) -> list[str]:
    """What the larger plan has beyond the other, in words."""
    ours, theirs = plan.cells[0].config, larger.cells[0].config
    probes = [name for name in theirs.eval.probes if name not in ours.eval.probes]
    posed = [len(p.ablation.posed(p.scale)) for p in (plan, larger)]
    counts = (
        (len(larger.arms) - len(plan.arms), "arms"),
        (len(larger.seeds) - len(plan.seeds), "seeds"),
        (theirs.train.epochs - ours.train.epochs, "epochs"),
        (posed[1] - posed[0], "claims"),
    )
    words = [f"{count:g} {what}" for count, what in counts if count > 0]
    return [*words, *(f"probe {name}" for name in probes)]


def seconds_of(plan: Plan, larger: Plan) -> float | None:
    """How long the larger plan takes, from what the runs of the other took.

    An arm that was not run counts as the mean of those that were.

    Returns:
      None where nothing was run, or the budgets cannot be compared.
    """
    rows = [row for row in collect(plan.workdir).rows if row.status == "done"]
    costs = [row.result["cost"] for row in rows if row.result]
    ours, theirs = plan.cells[0].config, larger.cells[0].config
    longer = _times_as_many_steps(ours, theirs)
    if not costs or longer is None:
        return None
    seeds = np.mean([len(cell.seeds) for cell in plan.cells])
    compiling = seeds * np.mean([cost["compile_seconds"] for cost in costs])
    running = np.mean([cost["run_seconds"] for cost in costs])
    num_runs = sum(len(cell.seeds) for cell in larger.cells)
    programs = len(larger.cells) * (1 + PROBE_SHARE * len(theirs.eval.probes))
    total = programs * compiling + num_runs * longer * running
    return float(total / min(jobs_of(larger), len(larger.cells)))


def _times_as_many_steps(ours: ConfigDict, theirs: ConfigDict) -> float | None:
    by = "epochs" if ours.train.epochs else "steps"
    if not theirs.train[by] or ours.train.batch_size != theirs.train.batch_size:
        return None
    return theirs.train[by] / ours.train[by]
