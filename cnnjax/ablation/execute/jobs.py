"""Who trains the cells of an ablation: the lock of its folder, and its jobs."""

import contextlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cnnjax.ablation.execute import slurm
from cnnjax.errors import UserError, printable
from cnnjax.lock import LOCK, Lock, locked
from cnnjax.process import is_running
from cnnjax.records import read_json, write_json

Record = dict[str, Any]  # 'job', the launcher's name for it, and what identifies it


def write_jobs(workdir: Path, launcher: str, cells: Mapping[str, Record]) -> None:
    """Writes `launcher/jobs.json`.

    Args:
      workdir: folder of the ablation.
      launcher: 'local' or 'slurm'.
      cells: cell -> record, of those that wait or run.
    """
    record = {"launcher": launcher, "command": sys.argv, "cells": dict(cells)}
    write_json(_path(workdir), record)


def read_jobs(workdir: Path) -> dict[str, Any]:
    """The content of the file; without cells if it does not exist."""
    if not _path(workdir).is_file():
        return {"launcher": "", "command": sys.argv, "cells": {}}
    return read_json(_path(workdir))


def refuse_other_jobs(workdir: Path, launcher: str) -> None:
    """Refuses to start while jobs of another launcher train the cells.

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
        jobs = [r["job"] for r in records if slurm.is_active(states.get(r["job"]))]
    else:
        jobs = [r["job"] for r in records if is_running(r)]
    if jobs:
        raise UserError(
            f"{len(jobs)} cells of {workdir} still run with --launcher="
            f"{known['launcher']} ({', '.join(jobs)}): wait for them with that "
            "launcher, or end them"
        )


def alone(
    workdir: Path, say: Callable[[str], None]
) -> contextlib.AbstractContextManager[Lock]:
    """The lock of the folder of an ablation, which one command at a time has.

    Args:
      workdir: the folder; made if it is not there.
      say: is told when the lock of a dead process is taken over.

    Raises:
      TakenError: another command has it.
    """
    return locked(
        workdir / LOCK,
        f"the cells of {printable(workdir)} are being trained",
        otherwise="see ./launch.sh status",
        say=say,
    )


def _path(workdir: Path) -> Path:
    return workdir / "launcher" / "jobs.json"
