"""Starts programs of experiments/ as a person does, without importing JAX each time.

A server, this file run as a program, imports what they import and then forks once per
start: a fresh process with its own arguments, folder, environment and exit code, in a
tenth of the time. JAX must not have a backend yet when it forks.
"""

import importlib.metadata
import json
import os
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
NEEDED = (
    "cnnjax.cli",
    "cnnjax.run.single",
    "cnnjax.ablation.execute.inline",
    "cnnjax.ablation.report.pages",
    "cnnjax.ablation.report.terminal",
    "configs.base",
    "ml_collections.config_flags",
    "sklearn.datasets",
    "tensorflow_datasets",
)
# Most of compiling is LLVM making code fast, and here it runs for seconds.
QUICK_OPTIONS = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_parallel_codegen_split_count": 1,
}
if importlib.metadata.version("jaxlib").startswith("0.10."):
    # XLA's older generator of code, some three times as quick, which later ones lack.
    QUICK_OPTIONS["xla_cpu_use_fusion_emitters"] = False
QUICK_TO_COMPILE = " ".join(
    f"--{name}={str(value).lower()}" for name, value in QUICK_OPTIONS.items()
)
LONGEST_SECONDS = 300  # then a program is killed
# Root may write and read everything; without these two it is as any other user.
AS_ORDINARY_USER = (
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
)


class Ended(NamedTuple):
    """How a program ended."""

    code: int
    out: str
    err: str


def obeys_permissions() -> bool:
    """Whether programs of the server can be refused a file."""
    return os.getuid() != 0 or shutil.which(AS_ORDINARY_USER[0]) is not None


def keeping_programs(folder) -> dict[str, str]:
    """Variables of `Programs` that keep what is compiled, for the next start."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


class Programs:
    """The server's other end; one program at a time.

    Args:
      **variables: of the environment, for what is read on import.
    """

    def __init__(self, **variables):
        command = [sys.executable, "-P", __file__]
        if os.getuid() == 0 and obeys_permissions():
            command = [*AS_ORDINARY_USER, *command]
        self.server = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": QUICK_TO_COMPILE}
            | variables,
        )

    def start(self, cwd, verb, *args, max_file_bytes=None) -> int:
        """`cd cwd && python -m experiments.VERB ARGS`; returns the process's number."""
        self.shown = [f"{cwd}.{stream}" for stream in ("out", "err")]
        request = {
            "cwd": str(cwd),
            "verb": verb,
            "args": [str(arg) for arg in args],
            "shown": self.shown,
            "max_file_bytes": max_file_bytes,
        }
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def wait(self) -> Ended:
        """Waits for the program that was started."""
        code = int(self.server.stdout.readline())
        return Ended(code, *(Path(path).read_text() for path in self.shown))

    def run(self, cwd, verb, *args, **more) -> Ended:
        """Starts a program and waits for its end."""
        self.start(cwd, verb, *args, **more)
        return self.wait()

    def close(self):
        self.server.stdin.close()
        self.server.wait(timeout=30)
        self.server.stdout.close()


def serve() -> None:
    for name in NEEDED:
        __import__(name)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            run_to_end(**request)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run_to_end(**request) -> None:
    """Ends the process, without the second that Python takes to tear itself down."""
    code = 0
    try:
        run_program(**request)
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code)


def run_program(cwd, verb, args, shown, max_file_bytes) -> None:
    os.chdir(cwd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(shown, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if max_file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    signal.alarm(LONGEST_SECONDS)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    sys.argv = [verb, *args]
    runpy.run_module(f"experiments.{verb}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve()
