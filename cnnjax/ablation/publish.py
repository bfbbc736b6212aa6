"""Copies a finished report into `docs/results/` and its tables into the README."""

import shutil
from pathlib import Path

from cnnjax.ablation.collect import collect
from cnnjax.ablation.report import make_context, render, write_report
from cnnjax.errors import UserError
from cnnjax.records import replace_block

KEPT = ("report.md", "results.csv")


def publish(workdir: Path, repository: Path) -> Path:
    """Writes `docs/results/<ablation>-<scale>/`, and the README's block of that name.

    Args:
      workdir: folder of a finished ablation.
      repository: folder that holds README.md and docs/.

    Returns:
      The folder written.

    Raises:
      UserError: a cell is missing or failed, or the README has no place for it.
    """
    write_report(workdir)
    sweep = collect(workdir)
    if any(row.status != "done" for row in sweep.rows):
        raise UserError(f"{workdir} has cells that are not done: finish the ablation")
    name = f"{sweep.ablation.name}-{sweep.scale_name}"
    folder = repository / "docs" / "results" / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "plots").mkdir(parents=True)
    for file in KEPT:
        shutil.copy(workdir / file, folder / file)
    for picture in sorted((workdir / "plots").glob("*.png")):
        shutil.copy(picture, folder / "plots" / picture.name)
    block = render("readme.md.j2", make_context(sweep), autoescape=False)
    replace_block(repository / "README.md", name, block)
    return folder
