"""One training from Python, and its results as arrays."""

import contextlib
import dataclasses
import io
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.judge.row import Row, read_row
from cnnjax.api.frames import as_frame
from cnnjax.api.recipes import recipe
from cnnjax.config import digest
from cnnjax.errors import UserError, unknown_name
from cnnjax.recipes.generic import chosen_lines, recipe_name
from cnnjax.records import is_there, no_run, sift_metrics
from cnnjax.run.single import stored_config
from cnnjax.run.single import train as train_and_print
from cnnjax.run.trained.cells import seeds_of
from cnnjax.run.trained.load import load_run
from cnnjax.run.trained.net import TrainedNet
from cnnjax.screen import say
from cnnjax.start.section import resolved
from cnnjax.texts import one_line


@dataclasses.dataclass(frozen=True, repr=False)
class Training:
    """The results of a training, read off its folder.

    Attributes:
      workdir: folder of the run.
      config: of the run.
      runs: one a seed, as `read_row` reads them.
    """

    workdir: Path
    config: ConfigDict
    runs: tuple[Row, ...]

    def __repr__(self) -> str:
        errors = self.values("test_error")
        known = errors[np.isfinite(errors)]
        error = f"test error {known.mean():.2f}%" if len(known) else "no test error"
        ended = sum(run.status == "done" for run in self.runs)
        return one_line(
            f"<training {self.workdir}: {self.config.model.name} on "
            f"{self.config.data.name}, {ended} of {len(self.runs)} seeds done, {error}>"
        )

    @property
    def seeds(self) -> list[int]:
        """The seeds, in the order of all arrays."""
        return [run.seed for run in self.runs]

    def values(self, metric: str = "test_error") -> np.ndarray:
        """A measurement of each seed, float64 [seeds]; nan where there is none.

        Args:
          metric: such as 'test_error', 'train_error' (percent) or 'train_loss'.

        Raises:
          UserError: there is no such metric.
        """
        known_metric(metric)
        return np.array([run.metric(metric) for run in self.runs])

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dictionary a seed: seed, status, reason and all that was measured."""
        measured = [
            name
            for name in METRICS
            if any(math.isfinite(run.metric(name)) for run in self.runs)
        ]
        return [
            {"seed": run.seed, "status": run.status, "reason": run.reason}
            | {name: run.metric(name) for name in measured}
            for run in self.runs
        ]

    @property
    def history(self) -> list[dict[str, Any]]:
        """What was logged while training: a dictionary a row, with its seed."""
        return [
            {"seed": seed} | row
            for seed in self.seeds
            for row in sift_metrics(self.workdir / f"seed-{seed}" / "metrics.jsonl")[0]
        ]

    def to_frame(self, of: str = "runs") -> Any:
        """A `pandas.DataFrame`: a line a seed, or with 'history' one a logged row.

        Raises:
          UserError: pandas is not installed, or `of` is neither.
        """
        if of not in ("runs", "history"):
            raise UserError(f"to_frame(of={of!r}): give 'runs' or 'history'")
        if of == "history":
            return as_frame(self.history, ".history")
        return as_frame(self.rows, ".rows")

    def load(self, weights: str = "best", seed: int | None = None) -> TrainedNet:
        """A trained net, as `cnnjax.load_run` gives it; by default of the first seed.

        Raises:
          UserError: as `load_run`.
        """
        seed = self.seeds[0] if seed is None else seed
        return load_run(self.workdir, weights, seed)


def train(
    config: str | Mapping[str, Any] | ConfigDict | None = None,
    workdir: str | os.PathLike = "",
    *,
    verbose: bool = True,
    **changes: Any,
) -> Training:
    """Trains a net, or resumes; a finished training is read.

    >>> import cnnjax
    >>> run = cnnjax.train(
    ...     model="mlp", dataset="digits", workdir="runs/mlp", verbose=False,
    ...     train={"steps": 8}, seeds=2,
    ... )
    >>> run.values("test_error").shape
    (2,)
    >>> run.load("last").class_names[:3]
    ('0', '1', '2')

    Args:
      config: a recipe or a config, as `cnnjax.recipe` takes it; None for `model=` and
        `dataset=`.
      workdir: folder of the run; '' for runs/train/<recipe>-<hash of the config>.
      verbose: whether to print progress, errors and remarks.
      **changes: of the config, as in `cnnjax.recipe`.

    Returns:
      The results.

    Raises:
      UserError: a name, key, value or folder that does not fit, or every seed failed.
      KeyboardInterrupt: it was stopped; the same call resumes.
    """
    chosen = recipe(config, **changes)
    lines: list[str] = []
    name = config if isinstance(config, str) else chosen.model.name
    if config is None:
        of = changes["model"], changes["dataset"]
        name, lines = recipe_name(*of), chosen_lines(chosen, *of)
    name = Path(str(name)).stem
    chosen = resolved(chosen)
    folder = Path(workdir or f"runs/train/{name}-{digest(chosen)}").expanduser()
    with printing(verbose):
        for line in lines:
            say(line)
        code = train_and_print(chosen, folder, name)
    if code:
        raise KeyboardInterrupt(f"stopped; the same call resumes in {folder}")
    return read_training(folder)


def read_training(workdir: str | os.PathLike) -> Training:
    """The results in the folder of a training, finished or not.

    Raises:
      UserError: it is no such folder.
    """
    folder = Path(workdir).expanduser()
    if not is_there(folder / "config.json"):
        raise no_run(folder, "a training", ("config.json",))
    config = stored_config(folder / "config.json")
    arm = {"name": folder.name, "axes": {}}
    seeds = seeds_of(config)
    runs = tuple(read_row(folder / f"seed-{seed}", arm, seed) for seed in seeds)
    return Training(folder, config.lock(), runs)


def known_metric(name: str) -> None:
    """Refuses names that are no metric.

    Raises:
      UserError: with near matches.
    """
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS, "values(metric)")


@contextlib.contextmanager
def printing(verbose: bool) -> Iterator[None]:
    """Within, nothing is printed unless `verbose`."""
    if verbose:
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()):
        yield
