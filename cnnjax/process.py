"""Which process this is, and whether one that was met before still lives."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def identity(pid: int | None = None) -> dict[str, Any]:
    """What tells a process of this machine from every other one, for a JSON record.

    Args:
      pid: its number; None for this process.

    Returns:
      'host', 'pid' and 'born': when it started, in ticks since the machine did, because
      numbers are given again; None where the system does not tell.
    """
    pid = pid or os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "born": _born(pid)}


def lives(known: Mapping[str, Any]) -> bool | None:
    """Whether a process still runs; None if it is of another machine.

    Args:
      known: holds what `identity` gave.
    """
    if known["host"] != socket.gethostname():
        return None
    try:
        os.kill(known["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _born(known["pid"]) == known["born"]


def _born(pid: int) -> int | None:
    """Start of a process on Linux; None elsewhere, and for one that has ended."""
    try:
        # The name, in brackets, may hold blanks.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, start = fields[0], int(fields[19])
    return None if state == "Z" else start
