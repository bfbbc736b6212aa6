"""Two launchers that start each cell of an ablation in its own process.

Both use submitit. A job is described by a record for `jobs.json`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.ablation.execute import slurm
from cnnjax.ablation.execute.jobs import Record
from cnnjax.errors import UserError
from cnnjax.process import identity, is_running

# SLURM refuses longer arrays by default (MaxArraySize).
ARRAY_SIZE = 1000
# Time before the limit at which a cell is told to save and requeue.
WARNING_SECONDS = 120
TEN_YEARS = 10 * 366 * 24 * 60  # minutes: submitit requires a limit for local jobs
PROBE = "import jax; d = jax.local_devices(); print(d[0].platform, len(d))"


class Local:
    """One process per accelerator of this machine, or several on the CPU.

    Args:
      folder: for submitit's files.
      jobs: processes at a time; 0 for one per accelerator, or per CPU core.

    Raises:
      UserError: submitit is missing, there are more processes than accelerators, or
        the accelerator is a TPU.
    """

    name = "local"

    def __init__(self, folder: Path, jobs: int):
        self._executor = _submitit().LocalExecutor(folder)
        self._executor.update_parameters(timeout_min=TEN_YEARS, stderr_to_stdout=True)
        self._folder, self._gpus = folder, gpus()
        if self._gpus and jobs > len(self._gpus):
            raise UserError(
                f"--jobs={jobs} is more than the {len(self._gpus)} accelerators here, "
                "which are never shared between cells: lower it, or leave it out"
            )
        self._slots = jobs or len(self._gpus) or os.cpu_count() or 1
        self._started: list[Any] = []

    def free_slots(self, active: Sequence[Record]) -> int:
        """How many more cells may start now."""
        return max(self._slots - len(active), 0)

    def submit(
        self, function: Callable, cells: Sequence[tuple], active: Sequence[Record]
    ) -> list[Record]:
        """Starts a process per cell; `active` are the ones that occupy devices."""
        taken = {record["slot"] for record in active}
        free = [slot for slot in range(self._slots) if slot not in taken]
        records = []
        for arguments, slot in zip(cells, free, strict=False):
            if self._gpus:
                self._executor.update_parameters(
                    gpus_per_node=1, visible_gpus=[self._gpus[slot]]
                )
            # Ctrl-C reaches all processes of a terminal; we forward it to the cells.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                job = self._executor.submit(function, *arguments)
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            self._started.append(job)
            records.append(
                {"job": job.job_id, "slot": slot} | identity(int(job.job_id))
            )
        return records

    def poll(self) -> bool:
        """Drops processes that have ended; always True, as no scheduler is asked."""
        self._started = [job for job in self._started if not job.done()]
        return True

    def is_active(self, record: Record) -> bool:
        """Whether the process lives; one on another machine counts as ended."""
        return bool(is_running(record))

    def state(self, record: Record) -> str:
        """Empty: there is no scheduler."""
        return ""

    def log(self, record: Record) -> Path:
        """The file with the output of the cell."""
        return _log(self._folder, record)

    def stop(self, active: Sequence[Record]) -> bool:
        """Tells the cells to save and end; returns whether to wait for them."""
        for record in active:
            if self.is_active(record):
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

    def submit(
        self, function: Callable, cells: Sequence[tuple], active: Sequence[Record]
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
                said = str(error).strip().splitlines()[-1]
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

    def log(self, record: Record) -> Path:
        """The file with the output of the cell."""
        return _log(self._folder, record)

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
        said = probe.stderr.strip().splitlines()[-1]
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


def _log(folder: Path, record: Record) -> Path:
    return _submitit().core.utils.JobPaths(folder, record["job"], 0).stdout


def _submitit() -> Any:
    # Set before the import, or it logs to standard output.
    os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")
    try:
        import submitit
    except ImportError as error:
        raise UserError(
            "--launcher=local and slurm need the package submitit: run once with "
            "CNNJAX_EXTRA=cluster before ./launch.sh"
        ) from error
    return submitit
