"""The studies as programs: they run, write their files and say what they found."""

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from rich.table import Table

from cnnjax.devices.compile_cache import use_compile_cache
from cnnjax.errors import UserError, printable
from cnnjax.interrupt import Stopped, catching_signals
from cnnjax.records import write_bytes, write_text
from cnnjax.run.setup import set_up
from cnnjax.screen import plain, say, show
from cnnjax.studies.augment_page import NAME, save_sheet
from cnnjax.studies.augment_sheet import rows_of
from cnnjax.studies.checks import check
from cnnjax.studies.checks.finding import FAILED, PASSED, UNKNOWN
from cnnjax.studies.own_folder import take_folder
from cnnjax.studies.prediction_figures import save_figures
from cnnjax.studies.predictions import predict
from cnnjax.studies.range_figure import save_figure, words
from cnnjax.studies.range_test import run_range_test, suggest, write_csv
from cnnjax.studies.scores import confusion, reliability, scores
from cnnjax.texts import csv_table
from cnnjax.training.views import Views

# What each program writes into a folder of its own.
FIGURES = (".png", ".svg")
AUGMENT_FILES = {f"{NAME}{end}" for end in (".png", ".html")}
RANGE_FILES = {f"range_test{end}" for end in (".csv", *FIGURES)}
PREDICTION_FILES = {
    *("scores.csv", "confusion.csv", "predictions.npz"),
    *(f"{name}{end}" for name in ("confusion", "reliability") for end in FIGURES),
}


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
    take_folder(workdir, RANGE_FILES, "--workdir")
    use_compile_cache()
    with catching_signals() as stop:
        try:
            curve = run_range_test(config, lowest, highest, steps, stop)
        except Stopped:
            return stop.exit_code
    suggestion = suggest(curve)
    seeds = tuple(range(config.seeds.first, config.seeds.first + config.seeds.count))
    write_csv(curve, seeds, workdir / "range_test.csv")
    save_figure(curve, suggestion, f"{name}: learning-rate range test", workdir)
    say(words(suggestion))
    say(f"curve and figure in {printable(workdir)}")
    return 0


def show_augmentation(
    config: ConfigDict, workdir: Path, name: str, num_images: int, num_draws: int
) -> int:
    """Draws the sheet of a config; numbers as of `rows_of`. Returns an exit code."""
    take_folder(workdir, AUGMENT_FILES, "--workdir")
    use_compile_cache()
    rows = list(rows_of(config, num_images, num_draws))
    save_sheet(f"{name}: augmentation of {config.data.name}", rows, workdir)
    say(f"{len(rows)} rows in {printable(workdir)}: {NAME}.html and {NAME}.png")
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


def show_predictions(
    workdirs: Sequence[str],
    *,
    split: str,
    weights: str,
    tops: Sequence[int],
    views: Mapping[str, Any],
    data_dir: str,
    out: Path | None,
) -> int:
    """Predicts, prints a table and writes the files; arguments as of `predict`."""
    out = out or (Path(workdirs[0]) if workdirs else Path()) / "predictions"
    use_compile_cache()
    found = predict(workdirs, split, weights, views=Views(**views), data_dir=data_dir)
    classes = len(found.class_names)
    for k in tops:
        if not 1 <= k < classes:
            raise UserError(
                f"--top={k} makes no sense for {classes} classes: give 1 to "
                f"{classes - 1}"
            )
    named = dict(zip(found.members, found.probabilities, strict=True))
    together = f"ensemble of {len(named)}"
    if len(named) > 1:
        named[together] = found.ensemble()
    take_folder(out, PREDICTION_FILES, "--out")
    rows = {name: scores(p, found.labels, tops) for name, p in named.items()}
    heads = ["error %", *(f"top-{k} error %" for k in tops), "loss", "calibration"]
    table = Table(title=plain(f"{len(found.labels):,} {split} images"))
    table.add_column("weights")
    for head in heads:
        table.add_column(head, justify="right")
    lines: list[list[object]] = [["weights", *heads]]
    for name, of in rows.items():
        numbers = [of.error, *of.top.values(), of.loss, of.calibration]
        lines.append([name, *numbers])
        words = [f"{n:.4f}" if n is of.loss else f"{n:.2f}" for n in numbers]
        table.add_row(plain(name), *words)
    show(table)
    if found.note:
        say(found.note)
    best = named.get(together, found.probabilities[0])
    matrix = confusion(best, found.labels)
    write_text(out / "scores.csv", csv_table(lines))
    write_text(
        out / "confusion.csv",
        csv_table(
            [["class", *found.class_names]]
            + [
                [name, *map(int, row)]
                for name, row in zip(found.class_names, matrix, strict=True)
            ]
        ),
    )
    buffer = io.BytesIO()
    np.savez_compressed(buffer, probabilities=found.probabilities, labels=found.labels)
    write_bytes(out / "predictions.npz", buffer.getvalue())
    few = [found.members[0], *([together] if len(named) > 1 else [])]
    curves = {name: reliability(named[name], found.labels) for name in few}
    save_figures(matrix, found.class_names, curves, out)
    say(f"tables, figures and probabilities in {printable(out)}")
    return 0
