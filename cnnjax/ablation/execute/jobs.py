"""The folder `launcher/`: the process that trains the cells, and its jobs."""

import contextlib
import fcntl
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cnnjax.ablation.execute import slurm
from cnnjax.errors import UserError
from cnnjax.process import identity, is_running
from cnnjax.records import read_json, to_line, write_failure, write_json

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


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks a folder against a second ablation.

    Args:
      folder: of the launcher's files; the lock file names the process that holds it.

    Raises:
      UserError: another process holds the lock, or the folder cannot be written.
    """
    path = folder / "lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise write_failure(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{_who(path)} is training the cells of {folder.parent}: wait for it, "
                "or end it with Ctrl-C first; ./launch.sh status shows them"
            ) from None
        except OSError:
            pass  # some network file systems have no locks: each cell has a heartbeat
        file.truncate(0)
        file.write(to_line(identity()))
        file.flush()
        yield


def _who(path: Path) -> str:
    known = read_json(path, lenient=True)
    if isinstance(known, dict) and {"pid", "host"} <= known.keys():
        return f"another ablation (process {known['pid']} on {known['host']})"
    return "another ablation"  # it has just started, or is an older version


def _path(workdir: Path) -> Path:
    return workdir / "launcher" / "jobs.json"
