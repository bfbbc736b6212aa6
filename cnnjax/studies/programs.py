"""The studies as programs: they run, write their files and say what they found."""

import io
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from rich.table import Table

from cnnjax.config import digest
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
from cnnjax.studies.own_folder import own_folder
from cnnjax.studies.prediction_figures import save_figures
from cnnjax.studies.predictions import Predictions, load_nets, predict_with
from cnnjax.studies.range_figure import save_figure, words
from cnnjax.studies.range_test import (
    check_rates,
    run_range_test,
    suggest,
    write_csv,
)
from cnnjax.studies.scores import confusion, reliability, scores
from cnnjax.texts import csv_table
from cnnjax.training.multi_view import Views


def find_rate(
    config: ConfigDict,
    workdir: Path | None,
    name: str,
    *,
    lowest: float,
    highest: float,
    steps: int,
) -> int:
    """Runs a range test; returns an exit code.

    Args:
      config: see `run_range_test`, like what follows below.
      workdir: folder of curve and figure; None for one of its own in runs/find_lr.
      name: of the recipe.
      lowest: first rate.
      highest: last rate.
      steps: how many.
    """
    check_rates(lowest, highest, steps)
    seeds = tuple(range(config.seeds.first, config.seeds.first + config.seeds.count))
    asked = {"config": digest(config), "lowest": lowest, "highest": highest}
    asked |= {"steps": steps, "seeds": list(seeds)}
    own = f"{lowest:g}-to-{highest:g}-in-{steps}-seeds-{seeds[0]}-to-{seeds[-1]}"
    workdir = workdir or Path("runs", "find_lr", f"{name}-{digest(config)}", own)
    use_compile_cache()
    try:
        with (
            own_folder(workdir, "find_lr", asked, "--workdir") as new,
            catching_signals() as stop,
        ):
            curve = run_range_test(config, lowest, highest, steps, stop)
            suggestion = suggest(curve)
            write_csv(curve, seeds, new / "range_test.csv")
            save_figure(curve, suggestion, f"{name}: learning-rate range test", new)
    except Stopped:
        return stop.exit_code
    say(words(suggestion))
    say(f"curve and figure in {printable(workdir)}")
    return 0


def show_augmentation(
    config: ConfigDict, workdir: Path, name: str, num_images: int, num_draws: int
) -> int:
    """Draws the sheet of a config; numbers as of `rows_of`. Returns an exit code."""
    use_compile_cache()
    asked = {"config": digest(config), "images": num_images, "draws": num_draws}
    with own_folder(workdir, "augment", asked, "--workdir") as new:
        rows = list(rows_of(config, num_images, num_draws))
        save_sheet(f"{name}: augmentation of {config.data.name}", rows, new)
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
    use_compile_cache()
    nets = load_nets(workdirs, weights, data_dir)
    classes = len(next(iter(nets.values())).class_names)
    for k in tops:
        if not 1 <= k < classes:
            raise UserError(
                f"--top={k} makes no sense for {classes} classes: give 1 to "
                f"{classes - 1}"
            )
    seen = Views(**views)
    asked = {"split": split, "weights": weights, "views": seen.words}
    named_so = [split] * (split != "test") + [weights] * (weights != "last")
    named_so += [re.sub(r"[^a-z0-9.]+", "_", seen.words)] * (not seen.is_plain)
    own = "-".join(["predictions", *named_so])
    out = out or Path(workdirs[0]) / own
    with own_folder(out, "predict", asked | {"nets": list(nets)}, "--out") as new:
        found = predict_with(nets, split, views=seen, data_dir=data_dir)
        for name, note in zip(nets, found.notes, strict=True):
            say(f"{name}: {nets[name].words()}" + (f"; note: {note}" if note else ""))
        _write_predictions(found, asked, tops, new)
    say(f"tables, figures and probabilities in {printable(out)}")
    return 0


def _write_predictions(
    found: Predictions, asked: Mapping[str, Any], tops: Sequence[int], folder: Path
) -> None:
    """Prints the table of scores, and writes all files."""
    named = dict(zip(found.members, found.probabilities, strict=True))
    together = f"ensemble of {len(named)}"
    if len(named) > 1:
        named[together] = found.ensemble()
    rows = {
        name: scores(p, found.labels, tops, found.loss) for name, p in named.items()
    }
    heads = ["error %", *(f"top-{k} error %" for k in tops), "loss", "calibration"]
    seen = f", {asked['views']}" if asked["views"] else ""
    title = f"{len(found.labels):,} {asked['split']} images{seen}"
    table = Table(title=plain(title))
    table.add_column(f"{asked['weights']} weights of")
    for head in heads:
        table.add_column(head, justify="right")
    lines: list[list[object]] = [["net", *asked, "step", *heads, "note"]]
    about = dict(
        zip(found.members, zip(found.steps, found.notes, strict=True), strict=True)
    )
    for name, of in rows.items():
        numbers = [of.error, *of.top.values(), of.loss, of.calibration]
        step, note = about.get(name, ("", ""))
        lines.append([name, *asked.values(), step, *numbers, note])
        words = [f"{n:.4f}" if n is of.loss else f"{n:.2f}" for n in numbers]
        table.add_row(plain(name), *words)
    show(table)
    best = named.get(together, found.probabilities[0])
    matrix = confusion(best, found.labels)
    write_text(folder / "scores.csv", csv_table(lines))
    write_text(
        folder / "confusion.csv",
        csv_table(
            [["class", *found.class_names]]
            + [
                [name, *map(int, row)]
                for name, row in zip(found.class_names, matrix, strict=True)
            ]
        ),
    )
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        probabilities=found.probabilities,
        labels=found.labels,
        members=found.members,
        steps=found.steps,
        notes=found.notes,
        class_names=found.class_names,
        **asked,
    )
    write_bytes(folder / "predictions.npz", buffer.getvalue())
    few = [found.members[0], *([together] if len(named) > 1 else [])]
    curves = {name: reliability(named[name], found.labels) for name in few}
    save_figures(matrix, found.class_names, curves, folder)
