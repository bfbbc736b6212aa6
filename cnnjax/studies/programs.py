"""The studies as programs: they run, write their files and say what they found."""

import time
from pathlib import Path

from ml_collections import ConfigDict

from cnnjax.devices.compile_cache import use_compile_cache
from cnnjax.errors import printable
from cnnjax.interrupt import Stopped, catching_signals
from cnnjax.run.setup import set_up
from cnnjax.screen import say
from cnnjax.studies.checks import check
from cnnjax.studies.checks.finding import FAILED, PASSED, UNKNOWN
from cnnjax.studies.range_figure import save_figure, words
from cnnjax.studies.range_test import run_range_test, suggest, write_csv


def find_rate(
    config: ConfigDict,
    workdir: Path,
    name: str,
    *,
    lowest: float,
    highest: float,
    steps: int,
) -> int:
    """Runs a range test; arguments as of `run_range_test`. Returns an exit code."""
    use_compile_cache()
    with catching_signals() as stop:
        try:
            curve = run_range_test(config, lowest, highest, steps, stop)
        except Stopped:
            return stop.exit_code
    suggestion = suggest(curve)
    workdir.mkdir(parents=True, exist_ok=True)
    seeds = tuple(range(config.seeds.first, config.seeds.first + config.seeds.count))
    write_csv(curve, seeds, workdir / "range_test.csv")
    save_figure(curve, suggestion, f"{name}: learning-rate range test", workdir)
    say(words(suggestion))
    say(f"curve and figure in {printable(workdir)}")
    return 0


def check_config(config: ConfigDict, seconds: float) -> int:
    """Carries out all checks and prints what they say; 1 if one failed."""
    use_compile_cache()
    start = time.monotonic()
    run = set_up(config)
    counts = dict.fromkeys((PASSED, FAILED, UNKNOWN), 0)
    for title, found in check(run, lambda: start + seconds - time.monotonic()):
        counts[found.status] += 1
        words = ": ".join(part for part in (found.number, found.advice) if part)
        say(f"{found.status:14}  {title}: {words}")
    took = time.monotonic() - start
    say(", ".join(f"{n} {status}" for status, n in counts.items()) + f"; {took:.0f} s")
    return 1 if counts[FAILED] else 0
