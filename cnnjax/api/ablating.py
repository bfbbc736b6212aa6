"""Ablations from Python: run them, and their results as arrays and verdicts."""

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.ablation.define.spec import Ablation
from cnnjax.ablation.execute.adaptive import Budget, train_seeds
from cnnjax.ablation.execute.dispatch import train_cells
from cnnjax.ablation.judge.collect import Sweep, collect, run_table
from cnnjax.ablation.judge.verdict import Verdict
from cnnjax.ablation.judge.verdicts import judge
from cnnjax.ablation.plan import load_ablation, make_plan
from cnnjax.ablation.report.pages import write_report
from cnnjax.ablation.report.terminal import print_summary
from cnnjax.api.frames import as_frame
from cnnjax.api.recipes import changed_keys
from cnnjax.api.training import Training, known_metric, printing, read_training
from cnnjax.errors import UserError
from cnnjax.records import is_there
from cnnjax.texts import one_line

MOST_SEEDS = 50  # of an arm, with seeds="auto"


@dataclasses.dataclass(frozen=True, repr=False)
class Ablated:
    """The results of an ablation, read off its folder.

    Attributes:
      workdir: folder of the ablation.
      sweep: all of its records.
      verdicts: one a claim, each with `verdict`, `reason` and the numbers.
    """

    workdir: Path
    sweep: Sweep
    verdicts: tuple[Verdict, ...]

    def __repr__(self) -> str:
        done = sum(row.status == "done" for row in self.sweep.rows)
        lines = [
            f"<ablation {self.sweep.ablation.name} ({self.sweep.scale_name}) in "
            f"{self.workdir}: {done} of {len(self.sweep.rows)} runs done>"
        ]
        lines += [f"  {v.verdict}: {v.claim.text}" for v in self.verdicts]
        return "\n".join(map(one_line, lines))

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in the order of the tables."""
        return self.sweep.arm_names

    @property
    def report(self) -> Path:
        """The page for a browser, `report.html`."""
        return self.workdir / "report.html"

    def values(self, metric: str = "test_error") -> dict[str, np.ndarray]:
        """Arm -> a measurement of each of its runs that count, float64 [runs].

        Raises:
          UserError: there is no such metric.
        """
        known_metric(metric)
        found = self.sweep.values(metric)
        return {arm: np.array([*of.values()], float) for arm, of in found.items()}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dictionary a run, with the columns of `results.csv`."""
        header, *lines = run_table(self.sweep)
        return [dict(zip(map(str, header), line, strict=True)) for line in lines]

    @property
    def claims(self) -> list[dict[str, Any]]:
        """A dictionary a claim: sentence, verdict, reason, effect with interval, p."""
        return [
            {
                "claim": v.claim.name,
                "sentence": v.claim.text,
                "verdict": v.verdict,
                "reason": v.reason,
                "effect": v.shown.value if v.shown else np.nan,
                "low": v.shown.low if v.shown else np.nan,
                "high": v.shown.high if v.shown else np.nan,
                "p": v.p_holm,
                "seeds": len(v.seeds),
            }
            for v in self.verdicts
        ]

    def to_frame(self, of: str = "runs") -> Any:
        """A `pandas.DataFrame`: a line a run, or with 'claims' one a claim.

        Raises:
          UserError: pandas is not installed, or `of` is neither.
        """
        if of not in ("runs", "claims"):
            raise UserError(f"to_frame(of={of!r}): give 'runs' or 'claims'")
        if of == "claims":
            return as_frame(self.claims, ".claims")
        return as_frame(self.rows, ".rows")


def ablate(
    definition: str | Ablation,
    scale: str = "quick",
    workdir: str | os.PathLike = "",
    *,
    seeds: int | str = "",
    data_dir: str = "",
    jobs: int = 0,
    launcher: str = "inline",
    folds: int = 0,
    verbose: bool = True,
    **changes: Any,
) -> Ablated:
    """Runs or resumes an ablation, judges its claims and writes the report.

    >>> import cnnjax
    >>> from cnnjax.ablation.define import Ablation, Axis, Scale, lower
    >>> pool = Ablation(
    ...     name="pool", title="Pooling", question="Does max pooling err less?",
    ...     source="none", arm_name="{pool}", x_axis="pool", metrics=["test_error"],
    ...     axes=[Axis("pool", {k: {"model.pool": k} for k in ("max", "avg")})],
    ...     claims=[lower("test_error", "max", than="avg", source="none")],
    ...     scales={"tiny": Scale(recipe="convnet_digits", seeds=2)},
    ... )
    >>> found = cnnjax.ablate(pool, "tiny", train={"steps": 4}, verbose=False)
    >>> {arm: errors.shape for arm, errors in found.values("test_error").items()}
    {'max': (2,), 'avg': (2,)}
    >>> len(found.verdicts), found.report.name
    (1, 'report.html')

    Args:
      definition: a name of `cnnjax.list_ablations()`, the path of a file, or an
        `Ablation`; recipes given there by path are sought from the current folder.
      scale: one of the definition.
      workdir: '' for runs/<ablation>/<scale>.
      seeds: of each arm; '' for those of the scale, 'auto' to add some while they help.
      data_dir: folder of prepared data sets.
      jobs: cells at a time; 0 for what fits.
      launcher: 'inline' or 'local'; on a cluster use `./launch.sh ablate`.
      folds: of cross-validation; 0 for the splits of the recipe.
      verbose: whether to print progress, tables and remarks.
      **changes: of the config of all arms, as in `cnnjax.recipe`.

    Returns:
      The results.

    Raises:
      UserError: a name, key, value or folder that does not fit.
      RuntimeError: cells crashed; `cnnjax.read_results(workdir)` gives the others.
      KeyboardInterrupt: it was stopped; the same call resumes.
    """
    if launcher not in ("inline", "local"):
        raise UserError(
            f"launcher={launcher!r}: give 'inline' or 'local', or submit jobs by "
            "./launch.sh ablate --launcher=slurm"
        )
    ablation = definition if isinstance(definition, Ablation) else None
    make = functools.partial(
        make_plan,
        ablation or load_ablation(str(definition)),
        scale,
        num_folds=folds,
        data_dir=data_dir,
        workdir=os.path.expanduser(workdir),
        changes=changed_keys(changes),
    )
    train = functools.partial(
        train_cells, launcher=launcher, jobs=jobs, launcher_options="", wait=True
    )
    with printing(verbose):
        code, plan = train_seeds(make, train, str(seeds), Budget(MOST_SEEDS, 0.0))
        if code in (0, 1):
            write_report(plan.workdir)
            print_summary(plan.workdir)
    if code == 1:
        raise RuntimeError(
            f"some cells crashed: {plan.workdir}/report.html says which and why, and "
            "the same call tries them again"
        )
    if code:
        raise KeyboardInterrupt(f"stopped; the same call resumes in {plan.workdir}")
    return read_ablation(plan.workdir)


def read_ablation(workdir: str | os.PathLike) -> Ablated:
    """The results in the folder of an ablation, finished or not.

    Raises:
      UserError: it is no such folder.
    """
    folder = Path(workdir).expanduser()
    sweep = collect(folder)
    return Ablated(folder, sweep, tuple(judge(sweep)))


def read_results(workdir: str | os.PathLike) -> Training | Ablated:
    """What is in the folder of a training or an ablation, finished or not.

    >>> import cnnjax
    >>> run = cnnjax.read_results("runs/mlp")
    >>> [row["status"] for row in run.rows]
    ['done', 'done']

    Raises:
      UserError: it is neither.
    """
    folder = Path(workdir).expanduser()
    is_ablation = is_there(folder / "plan.json")
    return read_ablation(folder) if is_ablation else read_training(folder)
