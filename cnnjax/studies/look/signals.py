"""The view of signals: sizes along the depth, probes of runs, effective fields."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from cnnjax.ablation.report.plots.figures import Group, Panel
from cnnjax.net.parts import layers_of_shape
from cnnjax.studies.look.section import Choice, Section, group, slug
from cnnjax.studies.look.seen import title_of
from cnnjax.studies.look.subject import Pictures, Subject
from cnnjax.views.drawing import charts
from cnnjax.views.passes import DoesNotApply
from cnnjax.views.signals import along_depth, effective_field, effective_side
from cnnjax.views.stages import stages_of

IMAGES = 128  # whose loss and responses are measured
FIELD_IMAGES = 16


def signals_section(
    subjects: Sequence[Subject], pictures: Pictures, choice: Choice
) -> Section:
    """Signals and gradients along the depth, and the field that each stage uses."""
    images, labels = pictures.images[:IMAGES], pictures.labels[:IMAGES]
    arrays: dict[str, np.ndarray] = {}
    notes: list[str] = []
    responses: dict[str, np.ndarray] = {}
    slopes: dict[str, np.ndarray] = {}
    places: list[str] = []
    groups: list[Group] = []
    for number, subject in enumerate(subjects):
        x = subject.given(images)
        panels = _field_panels(subjects, subject, x[:FIELD_IMAGES], arrays, notes)
        if panels:
            groups.append(group(f"fields-{number + 1}", panels, columns=4))
        if not pictures.labelled:
            continue
        found = subject.run(
            lambda v, x, y, s=subject: along_depth(s.network, v, x, y),
            *(x, jnp.asarray(labels)),
        )
        paths = _order(subject, found)
        if not paths:
            notes.append(f"{subject.label}: it has no convolution to follow.")
            continue
        places = paths
        responses[subject.label] = np.array([found[path][0] for path in paths])
        slopes[subject.label] = np.array([found[path][1] for path in paths])
        name = slug(subject.label)
        arrays[f"{name}_responses"] = responses[subject.label]
        arrays[f"{name}_gradients"] = slopes[subject.label]
    if responses:
        what = {
            "signal along the depth": (responses, "standard deviation"),
            "gradient along the depth": (slopes, "norm of the gradient"),
        }
        panels = [
            charts.line_panel(of, places, title, unit, "convolution", log=True)
            for title, (of, unit) in what.items()
        ]
        groups.insert(0, group("signals", panels, columns=2))
    else:
        notes.append(
            "Signals along the depth need convolutions and images with classes."
        )
    if panels := _probe_panels(subjects):
        groups.append(group("probes", panels, columns=2))
    text = (
        "Left: the standard deviation of the output of each convolution, after its "
        "norm. Right: the norm of the gradient of the loss with respect to its "
        "kernel. Below: how much the middle of each stage depends on each pixel (mean "
        "size of the gradient, square root drawn; Luo et al. 2016). The frame is what "
        "it could see; it uses pixels above 4.6% of the strongest, given as the side "
        "of a square. Probes (config.eval.probes) are drawn as the run measured them."
    )
    return Section("signals", "Signals and gradients", text, groups, [], arrays, notes)


def _probe_panels(subjects: Sequence[Subject]) -> list[Panel]:
    """What the probes of the runs measured along the depth while these trained.

    Each run once, whatever weights of it are looked at.
    """
    panels, shown = [], []
    for subject in subjects:
        if subject.probes in shown:
            continue
        shown.append(subject.probes)
        for name, record in subject.probes.items():
            profiles = record.get("profiles") or {}
            known = {
                title or name: of
                for title, of in profiles.items()
                if len(of.get("values") or []) > 1 and None not in of["values"]
            }
            if not known:
                continue
            lines = {title: of["values"] for title, of in known.items()}
            x, y = next(iter(known.values()))["axes"]
            title = title_of(subjects, subject, f"probe {name}")
            panels.append(charts.line_panel(lines, [], title, y, x))
    return panels


def _order(subject: Subject, found: dict[str, Any]) -> list[str]:
    """The paths in the order of execution, which a program does not keep."""
    shape = subject.preprocess.image_shape
    order = [layer.path for layer in layers_of_shape(subject.network, shape)]
    return [path for path in order if path in found]


def _field_panels(subjects, subject: Subject, x, arrays, notes) -> list[Panel]:
    try:
        places = stages_of(subject.network, subject.preprocess.image_shape)
    except DoesNotApply as error:
        notes.append(f"{subject.label}: no receptive fields: {error}.")
        return []
    paths = [place.path for place in places]
    found = subject.run(
        lambda v, x: {p: effective_field(subject.network, v, x, p) for p in paths}, x
    )
    panels = []
    for place in places:
        field = found[place.path]
        side = effective_side(field)
        title = title_of(subjects, subject, place.path)
        panels.append(charts.field_panel(field, place, side, title))
        arrays[f"{slug(subject.label)}_{slug(place.path)}_field"] = field
    return panels
