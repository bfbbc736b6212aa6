"""Looks inside nets: computes the views, writes the page and its files."""

import dataclasses
import io
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.ablation.report.pages import render
from cnnjax.ablation.report.plots.figures import save_groups
from cnnjax.errors import unknown_name
from cnnjax.records import write_bytes, write_text
from cnnjax.screen import say
from cnnjax.studies.look import measured, seen, signals
from cnnjax.studies.look.section import Choice, Section, View
from cnnjax.studies.look.subject import Pictures, Subject
from cnnjax.studies.own_folder import own_folder
from cnnjax.views.passes import DoesNotApply

# In the order of the page. Add a view: its function, and one line here.
VIEWS: dict[str, View] = {
    "filters": seen.filters_section,
    "maps": seen.maps_section,
    "units": seen.units_section,
    "saliency": seen.saliency_section,
    "space": measured.space_section,
    "landscape": measured.landscape_section,
    "signals": signals.signals_section,
}
LONGEST = ("landscape", "saliency", "units", "space", "signals", "maps", "filters")
AT_A_TIME = 2
PAGE = "look.html"


def check_views(names: Sequence[str]) -> list[str]:
    """The views that were asked for, in the order of the page; all for none.

    Raises:
      UserError: an unknown name.
    """
    for name in names:
        if name not in VIEWS:
            raise unknown_name("view", name, VIEWS, "--views")
    return [name for name in VIEWS if name in names or not names]


def look(
    subjects: Sequence[Subject],
    pictures: Pictures,
    views: Sequence[str],
    choice: Choice,
    folder: Path,
) -> Path:
    """Computes views of some nets and writes them.

    Args:
      subjects: the nets, side by side; each with a label of its own.
      pictures: what they are looked at with.
      views: of `check_views`.
      choice: of the user.
      folder: a new one, or one of an earlier look.

    Returns:
      The page. Beside it are the pictures as PNG and SVG, and the arrays of each view
      as NPZ.

    Raises:
      UserError: the folder cannot be written, or holds what is not ours.
    """
    # Whatever was asked before: a look is easily taken again.
    with own_folder(folder, "look", {}, "--out") as new:
        sections = _computed(subjects, pictures, views, choice, new)
        context = {
            "subjects": subjects,
            "pictures": pictures,
            "sections": sections,
        }
        write_text(new / PAGE, render("look.html.j2", context, autoescape=True))
    return folder / PAGE


def _computed(
    subjects: Sequence[Subject],
    pictures: Pictures,
    views: Sequence[str],
    choice: Choice,
    folder: Path,
) -> list[Section]:
    """All views, with their files written: two at a time, and drawn as they come.

    XLA compiles a program on one core. matplotlib draws in this thread alone.
    """

    def compute(name: str) -> Section:
        start = time.monotonic()
        section = _section(name, subjects, pictures, choice)
        choice.say(f"{name} computed in {time.monotonic() - start:.1f} s")
        return section

    saved = {}
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        # The longest first, so that none of them is left alone at the end.
        names = [name for name in LONGEST if name in views]
        tasks = [threads.submit(compute, name) for name in names]
        for task in as_completed(tasks):
            section = task.result()
            saved[section.name] = _saved(section, folder)
    return [saved[name] for name in views]


def _section(name: str, subjects, pictures, choice: Choice) -> Section:
    try:
        return VIEWS[name](subjects, pictures, choice)
    except DoesNotApply as error:
        return Section(name, name.capitalize(), "", [], notes=[f"{error}."])


def _saved(section: Section, folder: Path) -> Section:
    """The section with its files written, and without what could not be drawn."""
    shown, _ = save_groups(section.groups, folder)
    if section.arrays:
        buffer = io.BytesIO()
        arrays: dict[str, Any] = dict(section.arrays)
        np.savez_compressed(buffer, **arrays)
        write_bytes(folder / f"{section.name}.npz", buffer.getvalue())
    return dataclasses.replace(section, groups=shown)


def progress(start: float) -> Callable[[str], None]:
    """Says what is done, with the seconds since the start."""
    return lambda text: say(f"{time.monotonic() - start:5.0f} s  {text}")
