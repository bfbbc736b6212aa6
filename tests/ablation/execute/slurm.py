"""A SLURM of one node, this machine, from Debian's slurm-wlm and munge."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

END_WITH_US = ("setpriv", "--pdeathsig=KILL")  # should the tests be killed
NEEDED = (
    END_WITH_US[0],
    "munged",
    "slurmctld",
    "slurmd",
    "sbatch",
    "srun",
    "squeue",
    "scontrol",
)
PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
START_SECONDS = 20
# This needs no cgroups, accounting database or second machine. A requeued job
# waits until its credential has expired: 5 s at least, two minutes by default.
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
MailProg=/bin/true
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=60 State=UP
"""


class CannotStart(Exception):
    """Why SLURM cannot run here."""


class Slurm:
    """Runs its three daemons while the context lasts.

    Raises:
      CannotStart: a program is missing, or the node does not come up.
    """

    def __init__(self):
        missing = [name for name in NEEDED if not shutil.which(name, path=PLACES)]
        if missing:
            raise CannotStart(f"not installed: {', '.join(missing)}")
        # Not in pytest's folder, whose path is too long for a socket.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.variables = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self.daemons: list[subprocess.Popen] = []

    def __enter__(self) -> "Slurm":
        try:
            self._configure()
            key, pipe = self.folder / "munge.key", self.folder / "munge.socket"
            key.write_bytes(os.urandom(128))
            key.chmod(0o400)
            names = {"key-file": key, "socket": pipe}
            for name in ("log-file", "pid-file", "seed-file"):
                names[name] = self.folder / f"munge.{name}"
            options = [f"--{name}={path}" for name, path in names.items()]
            self._start("munged", "--foreground", "--force", *options)
            self._wait_for(pipe.exists, "munged")
            self._start("slurmctld", "-D", "-i")
            self._start("slurmd", "-D")
            self._wait_for(self._is_up, "the node")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception):
        self.close()

    def command(self, *words: str) -> str:
        """Runs a program of SLURM; returns what it printed."""
        return subprocess.run(
            words,
            env=os.environ | self.variables,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def states(self) -> dict[str, str]:
        """State of every job by name, including ended ones."""
        listed = self.command(
            "squeue", "--array", "--noheader", "--states=all", "--format=%i %T"
        )
        return dict(line.split() for line in listed.splitlines())

    def close(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(self.daemons):
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _configure(self) -> None:
        # Both stay open until both are known, so that they differ.
        with socket.socket() as first, socket.socket() as second:
            for free in (first, second):
                free.bind(("127.0.0.1", 0))
            ports = [free.getsockname()[1] for free in (first, second)]
        text = CONFIG.format(
            folder=self.folder,
            host=socket.gethostname().split(".")[0],
            ports=ports,
            user=_user(),
        )
        (self.folder / "slurm.conf").write_text(text)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()

    def _start(self, name: str, *options: str) -> None:
        with (self.folder / f"{name}.out").open("w") as out:
            self.daemons.append(
                subprocess.Popen(
                    [*END_WITH_US, shutil.which(name, path=PLACES), *options],
                    env=os.environ | self.variables,
                    stdout=out,
                    stderr=out,
                    # Ctrl-C of the tests must not end it before its jobs.
                    start_new_session=True,
                )
            )

    def _is_up(self) -> bool:
        try:
            return "idle" in self.command("sinfo", "--noheader", "--format=%T")
        except subprocess.CalledProcessError:
            return False

    def _wait_for(self, condition, what: str) -> None:
        end = time.monotonic() + START_SECONDS
        while not condition():
            if time.monotonic() > end or any(
                d.poll() is not None for d in self.daemons
            ):
                raise CannotStart(f"{what} does not start: {self._complaints()}")
            time.sleep(0.1)

    def _complaints(self) -> str:
        logs = [*self.folder.glob("*.out"), *self.folder.glob("*.log")]
        lines = [line for log in logs for line in log.read_text().splitlines()]
        return "; ".join(line for line in lines if "error" in line.lower())[-500:]


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
