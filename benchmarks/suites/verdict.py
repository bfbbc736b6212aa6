"""Suite verdict: what a newcomer waits for, from a fresh clone to a first verdict."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.measure import Times, interleave
from benchmarks.rows import Row
from cnnjax.cache import VARIABLE

ROOT = Path(__file__).parents[2]
MOST_ROUNDS = 3
SET_UP = ("set-up", "./launch.sh, the first time")
FIRST = ("first verdict", "./launch.sh")
AGAIN = ("first verdict", "./launch.sh, programs in the cache")
WHOLE = ("laptop", "./launch.sh ablate --ablation=degradation --scale=laptop")


def suite(options) -> list[Row]:
    """Each in a fresh clone of what is committed; packages come from the index."""
    rounds = min(options.rounds, MOST_ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        clone, cache = Path(folder, "clone"), Path(folder, "cache")
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)

        def launch(*words: str, fresh: bool) -> None:
            """Runs a command with no results there, and no programs if `fresh`."""
            shutil.rmtree(clone / "runs", ignore_errors=True)
            if fresh:
                shutil.rmtree(cache, ignore_errors=True)
            own = {name: v for name, v in os.environ.items() if name != "PYTHONPATH"}
            subprocess.run(
                [clone / "launch.sh", *words],
                cwd=clone,
                env=own | {VARIABLE: str(cache)},
                stdout=subprocess.DEVNULL,
                check=True,
            )

        def set_up() -> None:
            shutil.rmtree(clone / ".venv", ignore_errors=True)
            launch("models", "--help", fresh=False)

        cases = {
            SET_UP: set_up,
            FIRST: lambda: launch(fresh=True),
            AGAIN: lambda: launch(fresh=False),
            WHOLE: lambda: launch(*WHOLE[1].split()[1:], fresh=True),
        }
        wanted = {
            " ".join(case): run
            for case, run in cases.items()
            if options.only.lower() in " ".join(case)
        }
        times = interleave(wanted, rounds=rounds, warm_up=0)
    return [
        row(case, times[" ".join(case)]) for case in cases if " ".join(case) in times
    ]


def row(case: tuple[str, str], times: Times) -> Row:
    """The median, with the least and the longest time."""
    least, most = min(times.seconds), max(times.seconds)
    return Row(*case, times.median, "run", note=f"{least:.1f} to {most:.1f} s")


def summary(stored: dict) -> str:
    """A sentence for the README."""
    seconds = {(row["case"], row["way"]): row["seconds"] for row in stored["rows"]}
    machine = stored["machine"]
    return (
        f"Set-up took {seconds[SET_UP]:.0f} s, the first verdict {seconds[FIRST]:.0f} s"
        f" ({seconds[AGAIN]:.0f} s with programs in the cache), `--scale=laptop` "
        f"{seconds[WHOLE]:.0f} s, from a fresh clone; medians of {stored['rounds']} on "
        f"{machine['processor']}, {machine['cores']} cores, {stored['date']}."
    )
