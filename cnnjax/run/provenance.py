"""What is needed to reproduce a result: written beside every result."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from cnnjax.devices.available import devices, has_onednn

PACKAGES = (
    "cnnjax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "onednn-cpu-gomp",
    "scipy",
    "scikit-learn",
    "tensorflow-datasets",
    "ml-collections",
)


def git_commit() -> str | None:
    """Commit of the code, with '-dirty' if files differ from it.

    Returns:
      None where no repository has the code; one that merely lies around it, as that of
      a project with its packages in it, has not.
    """
    # In a hook, git's own variables name the repository of the hook.
    around = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    file = pathlib.Path(__file__)

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words],
            cwd=file.parent,
            env=around,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "--", file.name)
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def processor() -> str:
    """Name of the CPU."""
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe(dataset) -> dict[str, Any]:
    """The record `provenance.json`.

    Args:
      dataset: the data of the run.
    """
    return {
        "command": shlex.join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "devices": devices(),
        "onednn": has_onednn(),
        "processor": processor(),
        "num_cpus": os.cpu_count(),
        "platform": platform.platform(),
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "note": dataset.note,
            "num_train": len(dataset.train),
            "num_validation": len(dataset.validation),
            "num_test": len(dataset.test),
        },
    }


def earlier_commits(provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Which commit trained from which step on, of an earlier start.

    Args:
      provenance: the content of `provenance.json`; empty if there is none.
    """
    if "commits" in provenance or not provenance:
        return provenance.get("commits", [])
    # Earlier versions named the commit of the last start alone.
    return [{"commit": provenance.get("git_commit"), "step": 0}]


def commits_from(
    before: Sequence[dict[str, Any]], step: int, now: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The list of `earlier_commits` when a commit trains from a step on.

    Args:
      before: the list so far.
      step: where the commit takes over.
      now: the content of `provenance.json` of this start: commit and machine.
    """
    entry = {
        "commit": now["git_commit"],
        "step": step,
        "processor": now["processor"],
        "devices": list(dict.fromkeys(now["devices"])),  # their kinds
    }
    kept = [earlier for earlier in before if earlier["step"] < step]
    # Earlier versions did not record the machine of each start.
    same = kept and all(
        kept[-1].get(key, value) == value
        for key, value in entry.items()
        if key != "step"
    )
    return kept if same else [*kept, entry]


def package_version(package: str) -> str | None:
    """Version of an installed package; None if it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
