"""Views that are measurements: spaces of features, landscapes, signals."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from cnnjax.ablation.report.plots.figures import Panel
from cnnjax.studies.look.section import Choice, Section, group, slug
from cnnjax.studies.look.seen import of_different_classes, title_of
from cnnjax.studies.look.subject import Pictures, Subject
from cnnjax.views.curvature import sharpness
from cnnjax.views.drawing import charts
from cnnjax.views.drawing.pictures import neighbour_panel
from cnnjax.views.landscape import (
    Surface,
    around,
    directions,
    projected,
    surface,
)
from cnnjax.views.likeness import cka_matrix
from cnnjax.views.passes import DoesNotApply
from cnnjax.views.spaces import (
    linear_error,
    neighbours,
    pooled,
    principal_plane,
    tsne_plane,
)
from cnnjax.views.stages import feature_maps, penultimate_of, stages_of

ALIKE = 256  # images over which layers are compared
QUERIES, NEAREST = 4, 5
LOSS_IMAGES = 64
# Of the Lanczos iteration, whose products cost as much as ten gradients.
POWER: dict[str, Any] = {"most": 15, "tolerance": 0.02}
REACH = 1.0  # of a landscape, in lengths of a direction


def space_section(
    subjects: Sequence[Subject], pictures: Pictures, choice: Choice
) -> Section:
    """The features behind the last layer, and how classes part along the depth."""
    images = pictures.images[: choice.points]
    labels = pictures.labels[: choice.points]
    planes: list[Panel] = []
    near: list[Panel] = []
    arrays: dict[str, np.ndarray] = {}
    notes: list[str] = []
    errors: dict[str, list[float]] = {}
    maps_of: dict[str, dict[str, np.ndarray]] = {}
    for subject in subjects:
        choice.say(f"features of {subject.label}")
        features, maps = _features(subject, images, notes)
        maps_of[subject.label] = maps
        colours = labels if pictures.labelled else np.zeros(len(images), int)
        names = pictures.class_names if pictures.labelled else ("image",)
        names = names or tuple(f"class {i}" for i in range(int(colours.max()) + 1))
        for what, plane in (
            ("principal components", principal_plane(features)),
            ("t-SNE", tsne_plane(features, choice.seed)),
        ):
            title = title_of(subjects, subject, f"last features, {what}")
            planes.append(charts.plane_panel(plane, colours, names, title))
            arrays[f"{slug(subject.label)}_{slug(what)}"] = plane.points
        arrays[f"{slug(subject.label)}_features"] = features
        near.append(_neighbour_panel(subjects, subject, features, images, pictures))
        if pictures.labelled:
            errors[subject.label] = _linear_errors(maps, labels, choice.seed, notes)
    groups = [group("space", planes, columns=2), group("neighbours", near, columns=2)]
    panels = _depth_panels(subjects, maps_of, errors, arrays)
    if panels:
        groups.append(group("depth", panels, columns=2))
    text = (
        f"What the last layer with weights takes, for {len(images):,} images: its "
        "first two principal components, its t-SNE (scikit-learn, started from "
        "these), and the images nearest to some by angle. Linear error: logistic "
        "regression on half of the images, judged on the other, of each stage "
        "averaged over 2 x 2 regions. Likeness of layers: linear CKA over "
        f"{min(ALIKE, len(images))} images (1: equal up to a rotation)."
    )
    notes = sorted(set(notes))
    return Section("space", "Space of features", text, groups, [], arrays, notes)


def _features(subject: Subject, images: np.ndarray, notes: list[str]):
    """(last features [N, D], stage -> its maps pooled or whole) of some images."""
    try:
        places = stages_of(subject.network, subject.preprocess.image_shape)
    except DoesNotApply as error:
        notes.append(f"{subject.label}: no stages: {error}.")
        places = []
    names = [place.path for place in places]

    def run(variables, x):
        last = penultimate_of(subject.network, variables, x)
        return last, feature_maps(subject.network, variables, x, names)

    features, maps = subject.over_batches(run, images)
    in_order = {name: maps[name] for name in names}
    in_order["last features"] = features
    return features, in_order


def _neighbour_panel(subjects, subject, features, images, pictures) -> Panel:
    queries = of_different_classes(pictures.labels[: len(images)], QUERIES)
    found, cosines = neighbours(features, queries, NEAREST)
    rows, names = [], []
    for query, near, alike in zip(queries, found, cosines, strict=True):
        rows.append([images[query], *images[near]])
        of = [pictures.name(int(pictures.labels[i])) for i in (query, *near)]
        if not pictures.labelled:
            of = ["" for _ in of]
        said = [
            f"{name}\n{value:.2f}" for name, value in zip(of[1:], alike, strict=True)
        ]
        names.append([f"{of[0]}\nimage", *said])
    title = title_of(subjects, subject, "nearest neighbours (cosine)")
    return neighbour_panel(rows, names, title)


def _linear_errors(maps, labels, seed: int, notes: list[str]) -> list[float]:
    errors = []
    for values in maps.values():
        try:
            errors.append(linear_error(pooled(values), labels, seed))
        except DoesNotApply as error:
            notes.append(f"{error}.")
            return []
    return errors


def _depth_panels(subjects, maps_of, errors, arrays) -> list[Panel]:
    """Linear error against depth, and likeness within the first net and across."""
    panels = []
    errors = {label: values for label, values in errors.items() if values}
    if errors:
        places = list(maps_of[next(iter(errors))])
        title = "linear classifier on each stage"
        panels.append(charts.line_panel(errors, places, title, "error (%)"))
        for label, values in errors.items():
            arrays[f"{slug(label)}_linear_error"] = np.array(values)
    first = subjects[0].label
    for subject in subjects:
        label = subject.label
        pairs = [(label, label)] if label == first else [(label, label), (first, label)]
        for one, other in pairs:
            rows, columns = maps_of[one], maps_of[other]
            of = [[v[:ALIKE] for v in maps.values()] for maps in (rows, columns)]
            values = cka_matrix(*of)
            which = one if one == other else f"{one} (rows) and {other}"
            title = f"likeness of layers (CKA): {which}"
            if len(subjects) == 1:
                title = "likeness of layers (CKA)"
            panels.append(charts.matrix_panel(values, list(rows), list(columns), title))
            arrays[f"cka_{slug(one)}_{slug(other)}"] = values
    return panels


def landscape_section(
    subjects: Sequence[Subject], pictures: Pictures, choice: Choice
) -> Section:
    """Loss around the weights of each net, on one scale, and its sharpness."""
    if not pictures.labelled:
        raise DoesNotApply("a loss needs the classes of the images, and none are known")
    images, labels = pictures.images[:LOSS_IMAGES], pictures.labels[:LOSS_IMAGES]
    xs = np.linspace(-REACH, REACH, 2 * choice.grid + 1)
    coarse = np.linspace(-REACH, REACH, choice.grid)
    lines: dict[str, Surface] = {}
    planes: dict[str, Surface] = {}
    arrays: dict[str, np.ndarray] = {}
    table = [
        ["net", "loss", "error (%)", "largest eigenvalue", "its residual", "products"]
    ]
    for subject in subjects:
        if labels.max() >= subject.num_classes:
            raise DoesNotApply(
                f"{subject.label} has {subject.num_classes} classes and the images "
                "have more"
            )
        x = subject.given(images)
        along = directions(subject.variables["params"], choice.seed)
        given = subject.network, subject.variables, x, labels
        choice.say(f"loss over a plane, {subject.label}")
        point = around(*given, along)
        lines[subject.label] = line = surface(point, xs)
        planes[subject.label] = plane = surface(point, coarse, coarse)
        choice.say(f"largest eigenvalue, {subject.label}")
        bent = sharpness(*given, seed=choice.seed, **POWER)
        middle = choice.grid
        numbers = line.losses[0, middle], line.errors[0, middle]
        said = [f"{numbers[0]:.4g}", f"{numbers[1]:.1f}", f"{bent.value:.4g}"]
        said += [f"{bent.residual:.2g}", str(bent.products)]
        table.append([subject.label, *said])
        name = slug(subject.label)
        arrays |= {f"{name}_line": line.losses[0], f"{name}_plane": plane.losses}
        arrays |= {f"{name}_eigenvalue": np.array(bent.value)}
    arrays |= {"line_places": xs, "plane_places": coarse}
    levels = _levels(planes.values())
    panels = [charts.curve_panel(lines, "loss along a random direction")]
    for subject in subjects:
        title = title_of(subjects, subject, "loss over a random plane")
        panels.append(charts.surface_panel(planes[subject.label], levels, title))
    panel = _plane_of_weights(subjects, images, labels, choice)
    panels += [panel] if panel else []
    text = (
        f"Cross entropy of {len(images)} images at the trained weights (star, or 0) "
        "plus random directions that have the norm of each filter (Li et al. 2017): "
        "distance 1 moves every filter by its own length. All nets share the scale. "
        "Batch norm is that of an evaluation: its running statistics stay those of "
        "the trained weights, and its scales and all biases stay as they are. The "
        "largest eigenvalue of the Hessian of that loss is found by the Lanczos "
        "iteration; its residual says how well. In the plane through "
        "the weights of one net at several moments, or of seeds, batch norm takes the "
        "statistics of the images."
    )
    groups = [group("landscape", panels, columns=2)]
    return Section("landscape", "Loss landscape", text, groups, table, arrays)


def _plane_of_weights(
    subjects: Sequence[Subject], images: np.ndarray, labels: np.ndarray, choice: Choice
) -> Panel | None:
    """Loss over the plane through the weights of one net at several moments, or seeds.

    Batch norm takes the statistics of the images there: the running ones of one end are
    wrong at the other.
    """
    centre = subjects[-1]
    others = [s for s in subjects[:-1] if s.network == centre.network][:2]
    if not others:
        return None
    weights = centre.variables["params"]
    along = [
        jax.tree.map(np.subtract, other.variables["params"], weights)
        for other in others
    ]
    words = [f"from {centre.label} to {other.label}" for other in others]
    if len(along) < 2:
        along += directions(weights, choice.seed, 1)
        words.append("random direction")
    choice.say(f"loss over the plane through {centre.label} and others")
    x = centre.given(images)
    given = centre.network, centre.variables, x, labels, along
    point = around(*given, batch_statistics=True)
    xs = np.linspace(-0.4, 1.4, choice.grid)
    ys = np.linspace(-0.9, 0.9, choice.grid) if len(others) < 2 else xs
    plane = surface(point, xs, ys)
    points = {s.label: projected(s.variables["params"], weights, along) for s in others}
    points[centre.label] = np.zeros(2)
    title = "loss over the plane through these weights"
    levels = _levels([plane])
    return charts.surface_panel(plane, levels, title, points, (words[0], words[1]))


def _levels(surfaces) -> np.ndarray:
    """Levels of the loss for all surfaces, evenly spread on a logarithmic scale."""
    values = np.concatenate([of.losses.ravel() for of in surfaces])
    values = np.maximum(values[np.isfinite(values)], 1e-6)
    low, high = np.quantile(values, [0.0, 0.97])
    return np.geomspace(low, max(high, 1.01 * low), 16)
