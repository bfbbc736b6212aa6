"""Which process this is, and whether one that was met before still lives."""

import contextlib
import math
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# A process of another machine counts as gone when it has been silent for so long:
# compiling a large net, or evaluating a large set, gives no sign for minutes.
QUIET_SECONDS = 600.0


def identity(pid: int | None = None) -> dict[str, Any]:
    """What tells a process of this machine from every other one, for a JSON record.

    Args:
      pid: its number; None for this process.

    Returns:
      'host', 'pid' and 'born': when it started (in ticks since the machine did, or as
      `ps` says it), because numbers are given again; None where nothing tells.
    """
    pid = pid or os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "born": _born(pid)}


def lives(known: Mapping[str, Any]) -> bool | None:
    """Whether a process still runs; None if it is of another machine.

    Args:
      known: what `identity` gave. Where a file has lost or changed some of it, there is
        no such process.
    """
    if not _is_whole(known):
        return False
    if known["host"] != socket.gethostname():
        return None
    try:
        os.kill(known["pid"], 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return _born(known["pid"]) == known["born"]


def seems_alive(sign: Mapping[str, Any]) -> bool:
    """Whether the process of a sign of life runs, as far as can be known from here.

    Args:
      sign: what `identity` gave, and 'updated', when it was written; may lack anything
        and hold anything.
    """
    known = lives(sign)
    if known is None and not _is_restarted_job(sign):
        return seconds_of_silence(sign) < QUIET_SECONDS
    return bool(known)


def seconds_of_silence(sign: Mapping[str, Any]) -> float:
    """Since a sign of life was written; clocks of other machines may be ahead."""
    try:
        return abs(time.time() - sign.get("updated", 0.0))
    except (TypeError, OverflowError):  # it is no time
        return math.inf


def slurm_start() -> dict[str, str]:
    """Which start of which SLURM job this process is in; nothing outside of SLURM."""
    job = os.environ.get("SLURM_JOB_ID")
    restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
    return {"slurm_job": job, "slurm_restarts": restarts} if job else {}


def _is_whole(known: Mapping[str, Any]) -> bool:
    """Whether a record names a process; 0 and below are groups of them to `kill`."""
    host, pid = known.get("host"), known.get("pid")
    is_number = isinstance(pid, int) and not isinstance(pid, bool)
    return isinstance(host, str) and is_number and pid > 0 and "born" in known


def _is_restarted_job(sign: Mapping[str, Any]) -> bool:
    """Whether the sign is of an earlier start of this job, which SLURM has ended."""
    ours = slurm_start()
    return bool(ours) and (
        sign.get("slurm_job") == ours["slurm_job"]
        and sign.get("slurm_restarts") != ours["slurm_restarts"]
    )


def _born(pid: int) -> int | str | None:
    """Start of a process; None for one that has ended, and where nothing tells."""
    try:
        # The name, in brackets, may hold blanks.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if Path("/proc/self/stat").exists() else _born_by_ps(pid)
    state, start = fields[0], int(fields[19])
    return None if state == "Z" else start


def _born_by_ps(pid: int) -> str | None:
    """Start of a process where there is no /proc, as on macOS."""
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    with contextlib.suppress(OSError):
        said = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
        ).stdout.split()
        if said and not said[0].startswith("Z"):
            return " ".join(said[1:])
    return None
