"""Cells that end in every way, without training, as each is a process."""

import os
import signal
import sys
import time
from pathlib import Path

from cnnjax.records import write_json
from cnnjax.run.heartbeat import claimed, write_heartbeat


def short_cell(workdir: str, arm: str) -> None:
    """Ends as the name of the arm says; with 'once' in the first attempt only."""
    folder = Path(workdir) / arm
    with claimed(folder, print):
        end_as_named(folder, arm)


def end_as_named(folder: Path, arm: str) -> None:
    how, _, times = arm.partition("-")
    is_first = not (folder / "tried").exists()
    (folder / "tried").touch()
    if times == "once" and not is_first:
        how = "good"
    if how == "killed":
        print("the last words")
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "crashed":
        write_heartbeat(folder, "crashed", reason="ZeroDivisionError: by zero")
        sys.exit(1)
    elif how == "refused":
        write_heartbeat(folder, "refused", reason="disk full")
        sys.exit(2)
    elif how == "stopped":
        write_heartbeat(folder, "stopped")
        sys.exit(143)
    elif how == "patient":
        wait_for_signal(folder)
    write_json(folder / "seed-0" / "result.json", {"status": "done", "step": 9})
    write_heartbeat(folder, "done", device=os.environ.get("CUDA_VISIBLE_DEVICES"))


def wait_for_signal(folder: Path) -> None:
    """Runs until SIGTERM, then takes a moment to save; other signals end it."""

    def save(signum, frame):
        time.sleep(0.5)
        write_heartbeat(folder, "stopped")
        sys.exit(143)

    signal.signal(signal.SIGTERM, save)
    write_heartbeat(folder, "running")
    time.sleep(60)
