"""Which process this is, and whether one that was met before still runs."""

import contextlib
import math
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any, TypeGuard

import psutil

# A process of another machine counts as dead when it has been silent for so long:
# compiling a large net, or evaluating a large set, writes no heartbeat for minutes.
QUIET_SECONDS = 600.0


def identity(pid: int | None = None) -> dict[str, Any]:
    """What tells a process of this machine from every other one, for a JSON record.

    Args:
      pid: its number; None for this process.

    Returns:
      'host', 'pid' and 'born': when it started, in 1/100 s since the machine did,
      because numbers are given again; None for a process that has ended. 'boot' and
      'pid_space': which start of which machine, and where its number counts, because
      containers and machines may share a name; None where the system does not tell.
    """
    pid = os.getpid() if pid is None else pid
    known = {"host": socket.gethostname(), "pid": pid, "born": _born(pid)}
    return known | _place()


def is_running(known: Mapping[str, Any]) -> bool | None:
    """Whether a process still runs; None if it is not to be seen from here.

    It is of another machine, or container, or of one that was started again since; or
    it is hidden.

    Args:
      known: what `identity` gave, also that of earlier versions. Where a file has lost
        or changed some of it, there is no such process.
    """
    if not _is_whole(known):
        return False
    here = {"host": socket.gethostname()} | _place()
    if any(known.get(key, value) != value for key, value in here.items()):
        return None
    born = _born(known["pid"])
    if born is None and _is_hidden(known["pid"]):
        return None
    return _is_number(known["born"]) and known["born"] == born


def seems_alive(heartbeat: Mapping[str, Any]) -> bool:
    """Whether the process of a heartbeat runs, as far as can be known from here.

    Args:
      heartbeat: what `identity` gave, and 'updated', when it was written; may lack
        anything and hold anything.
    """
    known = is_running(heartbeat)
    if known is None and not _is_restarted_job(heartbeat):
        return seconds_of_silence(heartbeat) < QUIET_SECONDS
    return bool(known)


def seconds_of_silence(heartbeat: Mapping[str, Any]) -> float:
    """Since a heartbeat was written; clocks of other machines may be ahead."""
    try:
        return abs(time.time() - heartbeat.get("updated", 0.0))
    except (TypeError, OverflowError):  # it is no time
        return math.inf


def how_it_ended(code: int, usage: resource.struct_rusage | None = None) -> str:
    """Words for the end of a process that gave no reason.

    Args:
      code: its exit code; below 0 for the signal that killed it.
      usage: of `os.wait4`; tells the most memory that it had.
    """
    if code >= 0:
        return f"its process ended with code {code}"
    guess = " (out of memory?)" if code == -signal.SIGKILL else ""
    most = f"; it had up to {bytes_of(usage) / 1e9:.2g} GB of memory" if usage else ""
    return f"its process was killed by signal {-code}{guess}{most}"


def bytes_of(usage: resource.struct_rusage) -> int:
    """The most memory that a process has had."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def absolute_entries(paths: str) -> list[str]:
    """The absolute entries of a PYTHONPATH.

    An empty one is the current folder, and a relative one lies in it: what a stranger
    has put there would be imported.
    """
    return [path for path in paths.split(os.pathsep) if os.path.isabs(path)]


def slurm_start() -> dict[str, str]:
    """Which start of which SLURM job this process is in; nothing outside of SLURM."""
    job = os.environ.get("SLURM_JOB_ID")
    restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
    return {"slurm_job": job, "slurm_restarts": restarts} if job else {}


def _is_whole(known: Mapping[str, Any]) -> bool:
    """Whether a record names a process."""
    pid = known.get("pid")
    named = isinstance(known.get("host"), str) and _is_number(pid) and pid > 0
    return named and "born" in known


def _place() -> dict[str, Any]:
    """Where the numbers of processes are those of this process."""
    boot = space = None
    with contextlib.suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        space = os.stat("/proc/self/ns/pid").st_ino
    return {"boot": boot, "pid_space": space}


def _is_number(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process, of another user whom the system hides."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        pass
    return False


def _is_restarted_job(heartbeat: Mapping[str, Any]) -> bool:
    """Whether it is of an earlier start of this job, which SLURM has ended."""
    ours = slurm_start()
    return bool(ours) and (
        heartbeat.get("slurm_job") == ours["slurm_job"]
        and heartbeat.get("slurm_restarts") != ours["slurm_restarts"]
    )


def _born(pid: int) -> int | None:
    """When a process started, in 1/100 s since the machine did; None if it ended."""
    with contextlib.suppress(psutil.Error):
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return None
        # The difference of two times of day, so that setting the clock is harmless,
        # unless it is set between the two.
        for _ in range(5):
            booted = psutil.boot_time()
            created = psutil.Process(pid).create_time()  # anew, as an object keeps it
            if booted == psutil.boot_time():
                return round(100 * (created - booted))
    return None
