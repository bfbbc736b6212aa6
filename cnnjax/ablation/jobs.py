"""What a launcher writes down of the cells that it has handed out."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnjax.ablation import slurm
from cnnjax.errors import UserError
from cnnjax.process import lives
from cnnjax.records import read_json, write_json

Record = dict[str, Any]  # 'job', its name there, and what else identifies it


def write_jobs(workdir: Path, launcher: str, cells: Mapping[str, Record]) -> None:
    """Writes `launcher/jobs.json`.

    Args:
      workdir: folder of the ablation.
      launcher: 'local' or 'slurm'.
      cells: arm -> record, of those that wait or run.
    """
    record = {"launcher": launcher, "command": sys.argv, "cells": dict(cells)}
    write_json(_path(workdir), record)


def read_jobs(workdir: Path) -> dict[str, Any]:
    """The content of the file; without cells if there is none."""
    if not _path(workdir).is_file():
        return {"launcher": "", "command": sys.argv, "cells": {}}
    return read_json(_path(workdir))


def refuse_other_jobs(workdir: Path, launcher: str) -> None:
    """Keeps a launcher from training what jobs of another one are training.

    Args:
      workdir: folder of the ablation.
      launcher: the one that is about to start.

    Raises:
      UserError: there are such jobs.
    """
    known = read_jobs(workdir)
    if known["launcher"] in ("", launcher):
        return
    records = known["cells"].values()
    if known["launcher"] == "slurm":
        states = slurm.job_states() or {}
        jobs = [r["job"] for r in records if slurm.goes_on(states.get(r["job"]))]
    else:
        jobs = [r["job"] for r in records if lives(r)]
    if jobs:
        raise UserError(
            f"{len(jobs)} cells of {workdir} still run by --launcher="
            f"{known['launcher']} ({', '.join(jobs)}): wait for them with that "
            "launcher, or end them"
        )


def _path(workdir: Path) -> Path:
    return workdir / "launcher" / "jobs.json"
