"""Whether the library may be called here: bounded by version, and tried before use.

The wheel is the last of its line, and XLA calls us through structures that later
releases may lay out otherwise. So the releases of jaxlib are bounded to those that this
was tested with, and each library is first compared with XLA in a process of its own,
where a crash ends nothing else. What came of it is kept in the cache folder, for this
library, processor and release of jaxlib; without a cache folder nothing is tried.
"""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import jaxlib

from cnnjax.cache import cache_folder
from cnnjax.errors import UserError
from cnnjax.onednn.library import FORCE, VARIABLE
from cnnjax.process import absolute_entries
from cnnjax.records import read_json, write_json

# First and last release of jaxlib whose layouts `calls` was tested with.
TESTED = (0, 10), (0, 12)
# Goes up when the comparison below changes.
VERSION = 3
LONGEST_SECONDS = 120.0
# What a process of `trial` prints in the end where all is well.
GOOD = "as XLA"
# Its exit code where the library is not what is wanted; any other may pass.
WRONG = 3
TRIAL = "cnnjax.onednn.trial"


def refusal(path: str) -> str | None:
    """Why the library is not used; None if it may be.

    Args:
      path: of the library.
    """
    if os.environ.get(VARIABLE) == FORCE:
        return None
    release = tuple(int(part) for part in jaxlib.__version__.split(".")[:2])
    if not TESTED[0] <= release <= TESTED[1]:
        first, last = (".".join(map(str, bound)) for bound in TESTED)
        return (
            f"it was tested with jaxlib {first} to {last}, and this is "
            f"{jaxlib.__version__}"
        )
    folder = cache_folder("onednn")
    if folder is None:
        return None
    record = folder / f"{_key(path)}.json"
    known = read_json(record, lenient=True)
    if not isinstance(known, dict) or "problem" not in known:
        problem, is_final = tried(path)
        known = {"library": path, "problem": problem}
        if is_final:
            with contextlib.suppress(UserError):  # a folder that cannot be written
                write_json(record, known)
    problem = known["problem"]
    return problem and f"{problem}; remove {record} to try again"


def tried(path: str) -> tuple[str | None, bool]:
    """Compares the library with XLA in another process.

    Args:
      path: of the library.

    Returns:
      What is wrong with it, or None; and whether the same would come of it next time.
    """
    root = str(Path(__file__).parents[2])
    known = absolute_entries(os.environ.get("PYTHONPATH", ""))
    own = {
        "PYTHONPATH": os.pathsep.join([root, *known]),
        "JAX_PLATFORMS": "cpu",
        VARIABLE: path,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", TRIAL, path],  # -P: not what lies here
            env=os.environ | own,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LONGEST_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it could not be tried ({type(error).__name__})", False
    if done.returncode < 0:
        number = -done.returncode
        with contextlib.suppress(ValueError):
            return f"it crashed when it was tried ({signal.Signals(number).name})", (
                number not in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
            )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines or lines[-1] != GOOD:
        why = lines[-1] if lines else f"exit code {done.returncode}"
        # Only what it says by itself: memory or a disk may be full just now.
        return f"it failed when it was tried ({why})", done.returncode == WRONG
    return None, True


def _key(path: str) -> str:
    """Digest of what decides whether the library works."""
    with contextlib.suppress(OSError):
        found = os.stat(path)
        path = f"{path} {found.st_size} {found.st_mtime_ns}"
    text = f"{VERSION} {jaxlib.__version__} {_processor()} {path}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _processor() -> str:
    """What Linux says of the first core, without what changes from time to time."""
    wanted = ("vendor_id", "cpu family", "model", "stepping", "flags")
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        first = file.read(8192).split("\n\n")[0]
        return "".join(line for line in first.split("\n") if line.startswith(wanted))
    return ""
