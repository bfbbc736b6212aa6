"""Trains one cell of an ablation in its own process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from cnnjax.ablation.execute.jobs import read_jobs
from cnnjax.errors import UserError
from cnnjax.interrupt import SIGNALS, Stopped, StopRequest, catching_signals
from cnnjax.lock import LostError, TakenError
from cnnjax.run.heartbeat import claimed, write_heartbeat
from cnnjax.screen import outlive_readers, say

NOTICE = b"\ninterrupted: saving a checkpoint\n"
# submitit sends SIGUSR2 before the time limit of a job.
ALL_SIGNALS = (*SIGNALS, signal.SIGUSR2)
INTERRUPTED = 128 + signal.SIGTERM


def run_cell(workdir: str, name: str) -> None:
    """Trains a cell with the `config.json` that `write_plan` wrote into its folder.

    Ends the process with 143 if it was interrupted, 2 for a mistake of the user and 1
    for a crash. The outcome is recorded in the folder, see `write_heartbeat`.

    Args:
      workdir: folder of the ablation.
      name: of the cell.
    """
    outlive_readers()  # its log may be on a full disk
    folder = Path(workdir) / name
    with catching_signals(NOTICE, ALL_SIGNALS, again=signal.SIG_IGN) as stop:
        try:
            with claimed(folder, say):
                code = train_alone(Path(workdir), name, stop)
        except (TakenError, LostError) as error:
            say(f"error: {error}")  # the heartbeat in the folder is another's
            code = 2
        except Stopped:
            write_heartbeat(folder, "stopped")
            requeue()
            code = INTERRUPTED
        except UserError as error:
            say(f"error: {error}")
            write_heartbeat(folder, "refused", reason=str(error))
            code = 2
        if code:
            sys.exit(code)


def train_alone(workdir: Path, name: str, stop: StopRequest) -> int:
    """Runs `inline.train_cell` for a single cell; returns an exit code."""
    folder = workdir / name
    # Imported late, after the signal handlers are in place.
    from cnnjax.ablation.execute.inline import train_cell
    from cnnjax.devices.compile_cache import use_compile_cache
    from cnnjax.run.folder import RunFolder
    from cnnjax.run.programs import shared_keys
    from cnnjax.run.progress import Progress
    from cnnjax.run.setup import set_up
    from cnnjax.run.shared import Shared
    from cnnjax.run.single import stored_config

    # The command that is recorded with the run is the user's.
    sys.argv = read_jobs(workdir)["command"]
    use_compile_cache()
    run = set_up(stored_config(folder / "config.json"))
    shared = Shared(shared_keys(run))
    with Progress({name: run.load()}) as progress:
        train_cell(folder, name, run, progress, stop, shared)
    return 0 if RunFolder(folder, run, name).finished_results() else 1


def requeue() -> None:
    """Puts this SLURM job back into the queue, unless it was cancelled."""
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        # The last task has the number of the array, which would requeue all tasks.
        job = "{SLURM_ARRAY_JOB_ID}_{SLURM_ARRAY_TASK_ID}".format(**os.environ)
    command = ["squeue", "--noheader", f"--jobs={job}", "--format=%T"]
    state = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    if state == "RUNNING":
        subprocess.run(["scontrol", "requeue", job])
