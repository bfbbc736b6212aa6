"""Steps in processes of their own: threads and allocators of two libraries do not mix.

A process builds one step and runs it for each line that it reads; it answers with the
seconds by its own clock, and with what the system gave it.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.measure import Times
from cnnjax.process import bytes_of

WARM_UP = 2
ROOT = str(Path(__file__).parents[1])


class Elsewhere:
    """A process with a step.

    Args:
      name: what to call it.
      code: Python code that leaves a function `step` and the number `units` that one
        call of it does.
      variables: of its environment, beside ours.
    """

    def __init__(self, name: str, code: str, variables: Mapping[str, str]):
        program = f"from benchmarks.elsewhere import serve\nserve({code!r})"
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", program],
            env=os.environ | {"PYTHONPATH": _with_root()} | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.units = self._answer()["units"]

    def run(self) -> dict[str, float]:
        """Runs the step once: seconds, page faults and peak memory (bytes)."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.close()
            code = self.process.returncode
            raise RuntimeError(f"the process of {self.name} ended with code {code}")
        return json.loads(line)

    def close(self) -> None:
        self.process.communicate()


def interleave_processes(
    processes: list[Elsewhere], others: Mapping[str, Callable], *, rounds: int
) -> tuple[dict[str, Times], dict[str, str]]:
    """Runs each process once per round, and functions of this process after them.

    Returns:
      The times per unit, and a note on memory for each process.
    """
    print(f"measuring {', '.join(p.name for p in processes)}", file=sys.stderr)
    seconds: dict[str, list[float]] = {}
    last: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for process in processes:
            last[process.name] = answer = process.run()
            took = answer["seconds"] / process.units
            seconds.setdefault(process.name, []).append(took)
        for name, run in others.items():
            start = time.perf_counter()
            run()
            seconds.setdefault(name, []).append(time.perf_counter() - start)
    notes = {
        process.name: f"{last[process.name]['peak'] / 1e9:.2f} GB, "
        f"{last[process.name]['faults'] / process.units:,.0f} page faults"
        for process in processes
    }
    return {name: Times(tuple(took)) for name, took in seconds.items()}, notes


def serve(code: str) -> None:
    """Runs the code, then its step for each line of the input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    names: dict = {}
    exec(code, names)
    for _ in range(WARM_UP):
        names["step"]()
    print(json.dumps({"units": names["units"]}), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(_measured(names["step"])), file=answers, flush=True)


def _measured(step: Callable) -> dict[str, float]:
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    step()
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": seconds,
        "faults": float(after.ru_minflt - before.ru_minflt),
        "peak": float(bytes_of(after)),
    }


def _with_root() -> str:
    """The path of modules, with this package where pytest alone knows of it."""
    given = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join([ROOT, given] if given else [ROOT])
