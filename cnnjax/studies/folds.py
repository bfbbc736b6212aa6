"""Cross-validation of one config, and the training on all of its images afterwards."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from cnnjax.config import override
from cnnjax.errors import printable
from cnnjax.record_kinds import RESULT
from cnnjax.records import sift_record
from cnnjax.run.single import train
from cnnjax.run.trained.cells import seeds_of
from cnnjax.screen import say

ALL = "all"  # folder of the training on what all folds have


def train_folds(
    config: ConfigDict, workdir: Path, name: str, num_folds: int, then_all: bool
) -> int:
    """Trains each fold in a folder of its own, then if wanted all of the pool.

    Args:
      config: of one training; its seeds are trained on each fold.
      workdir: gets the folders fold-0, fold-1, ... and `ALL`.
      name: to show.
      num_folds: at least 2.
      then_all: whether to train once more, on the whole training pool; the source's
        own test split, if there is one, is what it is tested on.

    Returns:
      An exit code: 0, or that of the first training that did not end well.
    """
    folds: list[int] = [*range(num_folds), *([-1] if then_all else [])]
    for fold in folds:
        own = config.copy_and_resolve_references()
        override(own, {"data.num_folds": num_folds, "data.fold": fold})
        words = ALL if fold < 0 else f"fold-{fold}"
        if code := train(own.lock(), workdir / words, f"{name}, {words}"):
            return code
        if fold == num_folds - 1:
            say(_words(config, workdir, num_folds))
    return 0


def _words(config: ConfigDict, workdir: Path, num_folds: int) -> str:
    """The test error over folds, of which each is the mean of its seeds."""
    errors, missing = [], 0
    for fold in range(num_folds):
        paths = (
            workdir / f"fold-{fold}" / f"seed-{seed}" / "result.json"
            for seed in seeds_of(config)
        )
        results = [sift_record(path, RESULT)[0] or {} for path in paths]
        known = [r["final"]["test"]["error"] for r in results if r.get("final")]
        errors += [np.mean(known)] if known else []
        missing += len(results) - len(known)
    spread = f" (from {min(errors):.2f} to {max(errors):.2f})" if errors else ""
    mean = f"{np.mean(errors):.2f}%" if errors else "unknown"
    without = f", without {missing} runs that have no result" if missing else ""
    return (
        f"test error over {len(errors)} folds: {mean}{spread}{without}; results in "
        f"{printable(workdir)}"
    )
