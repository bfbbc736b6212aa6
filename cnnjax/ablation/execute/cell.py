"""One cell of an ablation in a process of its own: the arguments are two names."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from cnnjax.ablation.execute.jobs import read_jobs
from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped, StopRequest, catching_signals
from cnnjax.run.heartbeat import TakenError, claim, write_heartbeat

NOTICE = b"\nasked to stop: saving a checkpoint\n"
# SIGUSR2 comes from submitit's jobs before their time limit.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
STOPPED = 128 + signal.SIGTERM


def run_cell(workdir: str, arm: str) -> None:
    """Trains an arm by the `config.json` that `write_plan` left in its folder.

    Ends the process with 143 if it was asked to stop, 2 for a mistake of the user and 1
    for a crash. How it went is in the folder, see `write_heartbeat`.

    Args:
      workdir: folder of the ablation.
      arm: name.
    """
    folder = Path(workdir) / arm
    with catching_signals(NOTICE, SIGNALS, again=signal.SIG_IGN) as stop:
        try:
            claim(folder)
            code = train_alone(folder, arm, stop)
        except TakenError as error:
            print(f"error: {error}")  # the sign in the folder is that of the other
            code = 2
        except Stopped:
            write_heartbeat(folder, "stopped")
            queue_again()
            code = STOPPED
        except UserError as error:
            print(f"error: {error}")
            write_heartbeat(folder, "refused", reason=str(error))
            code = 2
        if code:
            sys.exit(code)


def train_alone(folder: Path, arm: str, stop: StopRequest) -> int:
    """Does what `train_cell` does beside other arms; returns an exit code."""
    # Imported late: until here, a signal would be lost.
    from cnnjax.ablation.execute.inline import train_cell
    from cnnjax.devices.compile_cache import use_compile_cache
    from cnnjax.run.folder import RunFolder
    from cnnjax.run.programs import shared_keys
    from cnnjax.run.progress import Progress
    from cnnjax.run.setup import set_up
    from cnnjax.run.shared import Shared
    from cnnjax.run.single import stored_config

    # What is written down as the command of the run is that of the person.
    sys.argv = read_jobs(folder.parent)["command"]
    use_compile_cache()
    run = set_up(stored_config(folder / "config.json"))
    shared = Shared(shared_keys(run))
    with Progress({arm: run.work()}) as progress:
        train_cell(folder, arm, run, progress, stop, shared)
    return 0 if RunFolder(folder, run, arm).finished_results() else 1


def queue_again() -> None:
    """Puts this SLURM job back into the queue, unless somebody has cancelled it."""
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        # The number of the last task is that of the array, and would mean all tasks.
        job = "{SLURM_ARRAY_JOB_ID}_{SLURM_ARRAY_TASK_ID}".format(**os.environ)
    command = ["squeue", "--noheader", f"--jobs={job}", "--format=%T"]
    state = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    if state == "RUNNING":
        subprocess.run(["scontrol", "requeue", job])
