"""`outliers` as a program: it ranks, writes its files and says what it found."""

from pathlib import Path

import numpy as np

from cnnjax.devices.compile_cache import use_compile_cache
from cnnjax.errors import UserError, printable
from cnnjax.screen import say
from cnnjax.studies.outlier_sheet import write_list, write_sheet, write_table
from cnnjax.studies.outliers import Outliers, find_outliers, precision_at
from cnnjax.studies.own_folder import own_folder


def show_outliers(
    workdir: Path, *, weights: str, worst: int, data_dir: str, out: Path | None
) -> int:
    """Ranks the training images of a run with folds; returns an exit code.

    Args:
      workdir: see `find_outliers`.
      weights: see `load_run`.
      worst: how many images `exclude.txt` has; 0 for those whose label is suspect.
      data_dir: see `find_outliers`.
      out: folder of the files; None for `outliers` in the run.
    """
    use_compile_cache()
    found = find_outliers(workdir, weights, data_dir=data_dir)
    if not 0 <= worst < len(found.labels):
        raise UserError(
            f"--worst={worst} does not fit {len(found.labels):,} training images: give "
            "a number below that, or 0 for those whose label is suspect"
        )
    out = out or workdir / "outliers"
    order, suspect = found.worst(), np.flatnonzero(found.suspect)
    chosen = order[:worst] if worst else suspect
    title = f"Outliers of {workdir.resolve().name} (frame: suspect)"
    asked = {"weights": weights, "worst": worst}
    with own_folder(out, "outliers", asked, "--out") as new:
        write_table(found, new / "outliers.csv")
        write_list(chosen.tolist(), new / "exclude.txt")
        write_sheet(found, title, new)
    say(
        f"{len(found.labels):,} training images, judged out of fold ({found.num_nets} "
        f"seeds): {_error(found):.2f}% are guessed wrong, the labels "
        f"of {len(suspect):,} are suspect"
    )
    if found.planted is not None:
        say(_planted_words(found))
    say(f"table, sheet and list of {len(chosen):,} images in {printable(out)}")
    path = printable(out / "exclude.txt")
    say(f'train without them: --config.data.exclude="$(cat {path})"')
    return 0


def _error(found: Outliers) -> float:
    """Percent of images whose likeliest class is not their label."""
    return 100 * float((found.margin < 0).mean())


def _planted_words(found: Outliers) -> str:
    """How many labels that were made wrong are found."""
    planted, suspect = np.asarray(found.planted), found.suspect
    num = int(planted.sum())
    shares = [
        f"{100 * precision_at(found.worst(), planted, k):.1f}% of the first {k:,}"
        for k in sorted({min(10, num), max(1, num // 2), num})
    ]
    both = (planted & suspect).sum()
    return (
        f"{num:,} labels are wrong on purpose: {', '.join(shares)} in the ranking; "
        f"{both:,} of the {suspect.sum():,} suspects"
    )
