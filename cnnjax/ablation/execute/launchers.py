"""Two launchers that start each cell of an ablation in its own process.

A job is described by a record for `jobs.json`. That of SLURM uses submitit.
"""

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from cnnjax.ablation.execute import slurm
from cnnjax.ablation.execute.jobs import Record
from cnnjax.errors import UserError
from cnnjax.files import open_regular
from cnnjax.process import how_it_ended, identity, is_running

# SLURM refuses longer arrays by default (MaxArraySize).
ARRAY_SIZE = 1000
# Of the log of a killed cell, copied to its crash.txt.
LOG_LINES, LOG_BYTES = 30, 2**16
# Time before the limit at which a cell is told to save and requeue.
WARNING_SECONDS = 120
# What a cell executes; workdir, name and key stand behind it.
CODE = "import sys; from {} import {} as run; run(*sys.argv[1:3])"
_ANY_CODE = re.compile(re.escape(CODE).replace(r"\{\}", r"[\w.]+"))
PROBE = "import jax; d = jax.local_devices(); print(d[0].platform, len(d))"


class Local:
    """One process per accelerator of this machine, or several on the CPU.

    A cell outlives the command that started it, which writes its record before: a later
    command finds the process by the key in its arguments.

    Args:
      folder: for the output of the cells.
      jobs: processes at a time; 0 for one per accelerator, or per CPU core.

    Raises:
      UserError: there are more processes than accelerators, or that is a TPU.
    """

    name = "local"

    def __init__(self, folder: Path, jobs: int):
        self._folder, self._gpus = folder, gpus()
        if self._gpus and jobs > len(self._gpus):
            raise UserError(
                f"--jobs={jobs} is more than the {len(self._gpus)} accelerators here, "
                "which are never shared between cells: lower it, or leave it out"
            )
        self._slots = jobs or len(self._gpus) or os.cpu_count() or 1
        self._started: dict[str, int] = {}  # key -> process that we wait for
        self._ends: dict[str, str] = {}

    def free_slots(self, active: Sequence[Record]) -> int:
        """How many more cells may start now."""
        return max(self._slots - len(active), 0)

    def prepare(
        self, cells: Sequence[tuple[str, str]], active: Sequence[Record]
    ) -> list[Record]:
        """The records of processes that are about to start.

        Args:
          cells: folder of the ablation and name, of each.
          active: the records of those that occupy devices.
        """
        taken = {record.get("slot") for record in active}
        free = (slot for slot in range(self._slots) if slot not in taken)
        keys = [secrets.token_hex(8) for _ in cells]
        logs = [
            f"{name.replace('/', '_')}_{key}_log.out"
            for (_, name), key in zip(cells, keys, strict=True)
        ]
        host = identity()["host"]
        return [
            {"job": "", "key": key, "slot": slot, "log": log, "host": host}
            for key, log, slot in zip(keys, logs, free, strict=False)
        ]

    def submit(
        self,
        function: Callable[[str, str], None],
        cells: Sequence[tuple[str, str]],
        records: Sequence[Record],
    ) -> list[Record]:
        """Starts a process per cell, and completes its record."""
        started = []
        for cell, record in zip(cells, records, strict=True):
            code = CODE.format(function.__module__, function.__name__)
            gpu = str(self._gpus[record["slot"]]) if self._gpus else ""
            self._folder.mkdir(parents=True, exist_ok=True)
            with open(self.log(record), "ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-u", "-c", code, *cell, record["key"]],
                    env=os.environ | {"CUDA_VISIBLE_DEVICES": gpu},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Neither Ctrl-C nor the end of a terminal reaches it: we tell it.
                    start_new_session=True,
                )
            process.returncode = 0  # so that Popen does not expect us to outlive it
            self._started[record["key"]] = process.pid
            started.append(record | {"job": str(process.pid)} | identity(process.pid))
        return started

    def found(self, name: str, record: Record) -> Record:
        """The record, with the process of one that had not been written to the end.

        Args:
          name: of the cell.
          record: of it, in a file that anyone may have written.
        """
        key = record.get("key")
        if record.get("pid") or not key:
            return record
        for process in psutil.process_iter():
            if self._arguments(process.pid) == [name, key]:
                return record | {"job": str(process.pid)} | identity(process.pid)
        return record

    def _arguments(self, pid: int) -> list[str] | None:
        """Name and key of the cell that a process trains; None if it is none of ours.

        A number in a file may by now be that of any process.
        """
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(pid).cmdline()[-5:]
            is_cell = len(found) == 5 and _ANY_CODE.fullmatch(found[1])
            here = found[:1] + found[2:3] == ["-c", str(self._folder.parent)]
            if is_cell and here and pid != os.getpid():
                return found[3:]
        return None

    def poll(self) -> bool:
        """Notes how processes have ended; always True, as no scheduler is asked."""
        for key, number in list(self._started.items()):
            pid, status, usage = os.wait4(number, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self._ends[key] = how_it_ended(code, usage)
                del self._started[key]
        return True

    def is_active(self, record: Record) -> bool:
        """Whether it lives and trains a cell; one on another machine has ended."""
        return bool(is_running(record)) and (
            self._started.get(record.get("key", "")) == record["pid"]
            or self._arguments(record["pid"]) is not None
        )

    def state(self, record: Record) -> str:
        """Empty: there is no scheduler."""
        return ""

    def verdict(self, record: Record) -> str:
        """How the process of a cell has ended that wrote no reason."""
        return self._ends.get(record.get("key", ""), "its process was killed or exited")

    def log(self, record: Record) -> Path:
        """The file with the output of the cell."""
        return self._folder / record.get("log", "")

    def stop(self, active: Sequence[Record]) -> bool:
        """Tells the cells to save and end; returns whether to wait for them."""
        for record in active:
            if self.is_active(record):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(record["pid"], signal.SIGTERM)
        return True


class Slurm:
    """Job arrays of SLURM.

    Args:
      folder: for submitit's files; all nodes must see it.
      jobs: cells at a time; 0 for as many as SLURM starts.
      options: of `slurm.parse_options`.

    Raises:
      UserError: submitit or SLURM is missing.
    """

    name = "slurm"

    def __init__(self, folder: Path, jobs: int, options: Mapping[str, Any]):
        try:
            self._executor = _submitit().SlurmExecutor(folder)
        except RuntimeError as error:
            raise UserError(
                "--launcher=slurm finds no srun here: run it on a login node of the "
                "cluster, or give --launcher=local or inline"
            ) from error
        cpus, limit = options.get("cpus_per_task"), options.get("time", sys.maxsize)
        self._executor.update_parameters(
            **{"time": None, **options},
            job_name="cnnjax",
            signal_delay_s=min(WARNING_SECONDS, 15 * limit),
            stderr_to_stdout=True,
            additional_parameters={"requeue": True},
            # Since SLURM 22.05, srun does not inherit this from sbatch.
            srun_args=[f"--cpus-per-task={cpus}"] if cpus else [],
        )
        self._folder, self._jobs = folder, jobs
        self._states: dict[str, str] = {}

    def free_slots(self, active: Sequence[Record]) -> int:
        """No limit: SLURM itself queues the cells."""
        return sys.maxsize

    def prepare(
        self, cells: Sequence[tuple[str, str]], active: Sequence[Record]
    ) -> list[Record]:
        """Nothing is known of jobs before SLURM numbers them."""
        return []

    def found(self, name: str, record: Record) -> Record:
        """The record: SLURM knows its job."""
        return record

    def submit(
        self,
        function: Callable[[str, str], None],
        cells: Sequence[tuple[str, str]],
        records: Sequence[Record],
    ) -> list[Record]:
        """Submits the cells as arrays.

        Raises:
          UserError: sbatch refuses them.
        """
        arrays = [cells[i : i + ARRAY_SIZE] for i in range(0, len(cells), ARRAY_SIZE)]
        most = max(1, self._jobs // len(arrays)) if self._jobs else ARRAY_SIZE
        self._executor.update_parameters(array_parallelism=most)
        jobs = []
        for array in arrays:
            try:
                jobs += self._executor.map_array(function, *zip(*array, strict=True))
            except _submitit().core.utils.FailedJobError as error:
                said = last_line(str(error))
                raise UserError(
                    f"SLURM refuses the cells ({said}): change --launcher_options"
                ) from error
        return [{"job": job.job_id} for job in jobs]

    def poll(self) -> bool:
        """Asks SLURM for the states of all jobs; whether it answered."""
        states = slurm.job_states()
        self._states = self._states if states is None else states
        return states is not None

    def is_active(self, record: Record) -> bool:
        """Whether the job waits, runs, or will run again, as of the last poll."""
        return slurm.is_active(self._states.get(record["job"]))

    def state(self, record: Record) -> str:
        """The state of the job in SLURM; empty if SLURM no longer knows it."""
        return self._states.get(record["job"], "")

    def verdict(self, record: Record) -> str:
        """How the process of a cell has ended that wrote no reason."""
        state = self.state(record)
        said = f", SLURM says {state}" if state else ""
        return f"its process was killed or exited{said}"

    def log(self, record: Record) -> Path:
        """The file with the output of the cell."""
        return _submitit().core.utils.JobPaths(self._folder, record["job"], 0).stdout

    def stop(self, active: Sequence[Record]) -> bool:
        """Leaves the jobs in SLURM."""
        return False


def gpus() -> list[int]:
    """Numbers of the GPUs that cells may use; empty on a machine without GPUs.

    A separate process looks for them, because JAX reserves the devices that it finds.

    Raises:
      UserError: JAX cannot start the devices, or cannot divide them between cells.
    """
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return []
    quiet = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    probe = subprocess.run(
        [sys.executable, "-P", "-c", PROBE], env=quiet, capture_output=True, text=True
    )
    if probe.returncode:
        said = last_line(probe.stderr)
        raise UserError(
            f"JAX cannot start the devices of this machine ({said}): set JAX_PLATFORMS"
        )
    platform, count = probe.stdout.split()[-2:]
    if platform == "cpu":
        return []
    if platform == "tpu":
        raise UserError(
            "--launcher=local divides GPUs and CPUs between cells, not a TPU: give "
            "--launcher=inline"
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    numbers = visible.split(",") if visible else [str(i) for i in range(int(count))]
    if not all(number.strip().isdigit() for number in numbers):
        raise UserError(
            f"--launcher=local needs GPUs by number, not CUDA_VISIBLE_DEVICES={visible}"
        )
    return [int(number) for number in numbers[: int(count)]]


def last_line(text: str) -> str:
    """The last line that says anything."""
    lines = (line.strip() for line in reversed(text.splitlines()))
    return next(filter(None, lines), "no reason given")


def last_lines(log: Path) -> list[str]:
    """The end of a log, which is no pipe and no link to what is not a log.

    Raises:
      UnfitFile: it is.
      OSError: it cannot be read.
    """
    with open_regular(log, sys.maxsize, follow=False) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - LOG_BYTES))
        text = file.read(LOG_BYTES).decode(errors="replace")
    return text.splitlines()[-LOG_LINES:]


def _submitit() -> Any:
    # Set before the import, or it logs to standard output.
    os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")
    try:
        import submitit
    except ImportError as error:
        raise UserError(
            "--launcher=slurm needs the package submitit: run once with "
            "CNNJAX_EXTRA=cluster before ./launch.sh"
        ) from error
    return submitit
