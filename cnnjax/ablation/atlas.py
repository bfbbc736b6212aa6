"""Runs many ablations one after another, each in its own process.

A crash, a kill or a lack of memory then ends only one of them, and each frees its
memory. None of them outlives this process.
"""

import contextlib
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cnnjax.ablation.plan import ablation_names, load_ablation
from cnnjax.ablation.report.overview import Entry, read_entry, write_index
from cnnjax.ablation.report.pages import write_report
from cnnjax.errors import UserError, unknown_name
from cnnjax.interrupt import SIGNALS, handling, lifeline
from cnnjax.process import how_it_ended
from cnnjax.record_kinds import TROUBLES
from cnnjax.records import sift_record, write_json
from cnnjax.screen import say

STOPPED = {code for s in SIGNALS for code in (128 + s, -s)}
ERROR = "error: "  # prefix of the messages of programs, see cnnjax/cli.py


def chosen_names(only: str) -> list[str]:
    """The ablations of '--only=a,b', in this order; all for ''.

    Raises:
      UserError: there is no ablation of that name.
    """
    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        if "/" in name or name.endswith(".py"):
            raise UserError(
                f"--only={only} contains a path, {name!r}, and takes names of "
                f"configs/ablations/: run it with ./launch.sh ablate --ablation={name}"
            )
        if name not in ablation_names():
            raise unknown_name("ablation", name, ablation_names(), "--only")
    return list(dict.fromkeys(names)) or ablation_names()


def check_scale(names: Sequence[str], scale: str) -> None:
    """Refuses a scale that none of the ablations has, before any is started.

    Raises:
      UserError: lists the scales that exist.
    """
    known = [key for name in names for key in load_ablation(name).scales]
    if scale not in known:
        raise unknown_name("scale", scale, set(known), "--scale")


def run_atlas(
    names: Sequence[str],
    root: Path,
    scale: str,
    command: Callable[[str], Sequence[str]],
    say: Callable[[str], None] = say,
) -> int:
    """Runs or resumes the ablations, one after another.

    Args:
      names: of ablations.
      root: folder of runs; each ablation has `<root>/<name>/<scale>/`.
      scale: of all.
      command: ablation -> command line that runs and reports it.
      say: prints one sentence.

    Returns:
      0; 1 if one of them failed or was refused; 128 + the signal that interrupted them.
    """
    worst = 0
    for number, name in enumerate(names, start=1):
        say(f"{name}, {number} of {len(names)}")
        start = time.monotonic()
        code, words = run_child(command(name))
        note_outcome(root, scale, name, code, words)
        if code and (root / name / scale / "plan.json").is_file():
            _report(root / name / scale, say)
        if code in STOPPED:
            if code < 0:  # else it has said so itself
                say("interrupted; the same command resumes")
            return 128 - code if code < 0 else code
        if code:
            worst = 1
            say(f"{name} failed, see above and the overview")
        say(f"{name} took {time.monotonic() - start:.0f} s")
    return worst


def run_child(command: Sequence[str]) -> tuple[int, str]:
    """Runs a program and forwards signals to it.

    It gets its own process group, so that Ctrl-C reaches it only once, through us, and
    a lifeline, by which it ends when we do.

    Returns:
      Its exit code, negative for a signal that killed it, and the last line that it
      wrote to stderr, without a leading 'error: ', or how it was killed.
    """
    last = ""
    with (
        forwarding_signals() as children,
        lifeline() as (end, variable),
        subprocess.Popen(
            command,
            process_group=0,
            pass_fds=(end,),
            env=os.environ | variable,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as child,
    ):
        children.append(child)
        for line in child.stderr or ():
            print(line, end="", file=sys.stderr, flush=True)
            last = line.strip() or last
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode < 0:
        last = how_it_ended(child.returncode, usage)
    return child.returncode, last.removeprefix(ERROR)


@contextlib.contextmanager
def forwarding_signals() -> Iterator[list[subprocess.Popen]]:
    """Forwards `SIGNALS` to the processes in the list that it yields."""
    children: list[subprocess.Popen] = []

    def forward(signum, frame):
        for child in children:
            if child.returncode is None:  # not `poll`, which would end the waiting
                os.kill(child.pid, signum)
        if not children:
            raise KeyboardInterrupt

    with handling(SIGNALS, forward):
        yield children


def write_overview(
    root: Path,
    scale: str,
    *,
    reports: bool = False,
    say: Callable[[str], None] = say,
) -> Path:
    """Writes `<root>/atlas-<scale>/index.html` and `index.md` over all ablations.

    Args:
      root: folder of runs.
      scale: of all.
      reports: whether the report of each ablation is written again as well.
      say: prints one sentence.
    """
    troubles = read_outcomes(root, scale)
    entries = [
        _entry(name, root / name / scale, troubles.get(name, ""), scale)
        for name in ablation_names()
    ]
    for entry in entries:
        workdir = root / entry.name / scale
        lacks_report = not (workdir / "report.html").is_file()
        if entry.sweep and (reports or lacks_report):
            _report(workdir, say)
    return write_index(_folder(root, scale), scale, entries)


def _entry(name: str, workdir: Path, trouble: str, scale: str) -> Entry:
    """The row of one ablation; one that cannot be judged does not take the others."""
    try:
        return read_entry(name, workdir, trouble, scale)
    except Exception as error:
        traceback.print_exc()
        reason = str(error).strip() or type(error).__name__
        return Entry(name, trouble=f"its runs cannot be judged: {reason}")


def _report(workdir: Path, say: Callable[[str], None]) -> None:
    """Writes a report; one that fails does not take the others."""
    try:
        write_report(workdir)
    except UserError as error:
        say(f"no report of {workdir}: {error}")
    except Exception:
        traceback.print_exc()
        say(f"no report of {workdir}: see the error above")


def note_outcome(root: Path, scale: str, name: str, code: int, words: str) -> None:
    """Stores the reason why an ablation has no result, or removes an earlier one."""
    troubles = read_outcomes(root, scale)
    troubles.pop(name, None)
    if code:
        troubles[name] = _sentence(code, words)
    write_json(_folder(root, scale) / "troubles.json", troubles)


def read_outcomes(root: Path, scale: str) -> dict[str, str]:
    """Ablation -> why its last attempt ended without a result."""
    path = _folder(root, scale) / "troubles.json"
    return sift_record(path, TROUBLES)[0] or {}


def _sentence(code: int, words: str) -> str:
    if code in STOPPED:
        return "interrupted; the same command resumes it"
    if code == 2:
        return f"refused: {words}"
    if code < 0:
        return words
    return f"ended with code {code}: {words or 'some cells have no result'}"


def _folder(root: Path, scale: str) -> Path:
    return root / f"atlas-{scale}"
