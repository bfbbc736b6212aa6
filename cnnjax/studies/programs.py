"""The studies as programs: they run, write their files and say what they found."""

from pathlib import Path

from ml_collections import ConfigDict

from cnnjax.devices.compile_cache import use_compile_cache
from cnnjax.errors import printable
from cnnjax.interrupt import Stopped, catching_signals
from cnnjax.screen import say
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
