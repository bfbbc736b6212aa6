"""Views that are pictures: filters, maps, saliency, and what units detect."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from cnnjax.ablation.report.plots.figures import Panel
from cnnjax.studies.look.section import Choice, Section, group, slug
from cnnjax.studies.look.subject import BATCH, Pictures, Subject
from cnnjax.views.class_maps import grad_cam, grad_cam_plus_plus
from cnnjax.views.drawing import pictures as draw
from cnnjax.views.dreams import maximise
from cnnjax.views.passes import DoesNotApply, logits_of
from cnnjax.views.saliency import by_gradients, occlusion
from cnnjax.views.sanity import rank_correlations
from cnnjax.views.stages import Stage, feature_maps, stages_of
from cnnjax.views.units import Strongest, classes_of, strongest
from cnnjax.views.weights import (
    DEAD,
    Filters,
    filters,
    layers_with_filters,
    matched,
    responses,
)

UNITS = 6  # of a layer
PATCHES = 7  # of a unit
REMEMBERED = 100  # images of a unit whose classes are counted
METHODS = (
    *("gradient", "gradient x input", "integrated gradients", "SmoothGrad"),
    *("occlusion", "Grad-CAM", "Grad-CAM++"),
)
LAYERS = 3  # whose units are shown


def title_of(subjects: Sequence[Subject], subject: Subject, rest: str) -> str:
    """The title of a panel: with the name of the net where there are several."""
    return f"{subject.label}: {rest}" if len(subjects) > 1 else rest


def filters_section(
    subjects: Sequence[Subject], pictures: Pictures, choice: Choice
) -> Section:
    """The filters of one layer of each net, those of the first net in order of norm."""
    found: list[Filters] = []
    panels, notes, arrays = [], [], {}
    heads = ["net", "layer", "filters", "dead", "median norm", "likeness to the first"]
    table = [heads[: 5 + (len(subjects) > 1)]]
    for subject in subjects:
        try:
            each = _filters(subject, pictures, choice.layer)
        except DoesNotApply as error:
            notes.append(f"{subject.label}: {error}.")
            continue
        alike = ""
        if found:
            try:
                each, correlations = matched(each, found[0])
                alike = f"{correlations.mean():.2f}"
            except DoesNotApply as error:
                notes.append(f"{error}.")
        found.append(each)
        size = "×".join(map(str, each.kernels.shape[1:]))
        title = title_of(subjects, subject, f"{each.path}, {size}")
        panels.append(draw.filter_panel(each, title))
        numbers = len(each.units), int(each.dead.sum()), f"{np.median(each.norms):.3g}"
        row = [subject.label, each.path, *map(str, numbers), alike]
        table.append(row[: len(table[0])])
        arrays[f"{slug(subject.label)}_kernels"] = each.kernels
        arrays[f"{slug(subject.label)}_units"] = each.units
    text = (
        "Each square is a filter; the ones with the largest norm come first. All share "
        "one scale: colours have 0 at middle grey; of one channel, red is positive and "
        "blue negative. Of other numbers of channels the strongest is shown. Units "
        f"whose output, after the norm, varies less than {DEAD:.0%} of the largest are "
        "dead; their filters are pale."
    )
    if len(found) > 1:
        text += (
            " Filters of further nets stand where the first net has the one that they "
            "resemble most; the likeness is the mean correlation of such pairs."
        )
    groups = [group("filters", panels)] if panels else []
    return Section("filters", "Filters", text, groups, table, arrays, notes)


def _filters(subject: Subject, pictures: Pictures, layer: str) -> Filters:
    """The filters of the layer that was asked for, if it has any; else of the first."""
    x = subject.given(pictures.images[:BATCH])
    given = subject.network, subject.variables, x
    paths = layers_with_filters(*given)
    if not paths:
        return filters(*given)  # which says why
    path = layer if layer in paths else paths[0]
    varies = subject.run(lambda v, x: responses(subject.network, v, x, path), x)
    return filters(*given, path, varies)


def maps_section(
    subjects: Sequence[Subject], pictures: Pictures, choice: Choice
) -> Section:
    """What each stage makes of one image."""
    image = pictures.images[choice.image]
    groups, arrays, notes = [], {}, []
    for number, subject in enumerate(subjects):
        shape = subject.preprocess.image_shape
        try:
            places = stages_of(subject.network, shape)
        except DoesNotApply as error:
            notes.append(f"{subject.label}: {error}.")
            continue
        x, names = subject.given(image), [place.path for place in places]
        maps = subject.run(
            lambda v, x, s=subject, n=names: feature_maps(s.network, v, x, n), x
        )
        stages = [Stage(place, maps[place.path]) for place in places]
        prefix = f"{subject.label}: " if len(subjects) > 1 else ""
        panels = draw.map_panels(stages, image, prefix)
        groups.append(group(f"maps-{number + 1}", panels, columns=4))
        for place in places:
            name = f"{slug(subject.label)}_{slug(place.path)}"
            arrays[name] = maps[place.path][0]
    text = (
        "One image, and the 16 channels of each stage that vary most over it. Maps "
        "that are never negative go from dark to light; others have blue below and "
        "red above 0. Each is on its own scale. Titles give height x width x "
        "channels, and what one position sees of the image."
    )
    return Section("maps", "Feature maps", text, groups, [], arrays, notes)


def saliency_program(
    subject: Subject, x: Any, targets: np.ndarray, layer: str, seed: int
) -> Callable[[Any], dict[str, np.ndarray]]:
    """A program: variables -> name of a method -> its maps of some images."""
    window = max(2, round(min(x.shape[1:3]) / 4))

    def run(variables, x, targets):
        given = (subject.network, variables, x, targets)
        found = by_gradients(*given, seed)
        stride = max(1, window // 2)
        found["occlusion"] = occlusion(*given, window=window, stride=stride)
        if layer:
            found["Grad-CAM"] = grad_cam(*given, layer)
            found["Grad-CAM++"] = grad_cam_plus_plus(*given, layer)
        return found

    arguments = x, jnp.asarray(targets)
    program = subject.program(run, *arguments)

    def in_order(variables):
        found = program(variables, *arguments)
        return {name: found[name] for name in METHODS if name in found}

    return in_order


def saliency_section(
    subjects: Sequence[Subject], pictures: Pictures, choice: Choice
) -> Section:
    """All methods for a few images, and the check with random weights."""
    where = of_different_classes(pictures.labels, choice.num_images)
    images = pictures.images[where]
    groups, arrays, notes = [], {}, []
    table: list[list[str]] = []
    for number, subject in enumerate(subjects):
        x = subject.given(images)
        layer, note = _class_layer(subject, choice.layer)
        if note:
            notes.append(f"{subject.label}: {note}.")
        logits = subject.run(lambda v, x, s=subject: logits_of(s.network, v, x), x)
        guesses = logits.argmax(axis=1)
        program = saliency_program(subject, x, guesses, layer, choice.seed)
        maps, random = program(subject.variables), program(subject.random())
        panels = []
        for i, at in enumerate(where):
            known = (
                f" (class: {pictures.name(pictures.labels[at])})" * pictures.labelled
            )
            title = title_of(
                subjects, subject, f"why {pictures.name(int(guesses[i]))}?{known}"
            )
            shown = {n: m[i].sum(-1) if m.ndim == 4 else m[i] for n, m in maps.items()}
            panels.append(draw.saliency_panel(images[i], shown, title))
        groups.append(group(f"saliency-{number + 1}", panels, columns=2))
        if not table:
            table.append(["net", *maps])
        numbers = [rank_correlations(maps[n], random[n]) for n in maps]
        table.append([subject.label, *(_mean(each) for each in numbers)])
        for name, values in maps.items():
            arrays[f"{slug(subject.label)}_{slug(name)}"] = values
    text = (
        "The logit of the class that the net chooses, traced back to the pixels. Red "
        "speaks for the class, blue against it (summed over colours; each map on its "
        "own scale). Grad-CAM is drawn over the image. The table is the check of "
        "Adebayo et al. 2018: the rank correlation of each map with that of the same "
        "net with random weights. A map near 1 does not show what the net has learned."
    )
    return Section("saliency", "Saliency", text, groups, table, arrays, notes)


def _mean(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    return f"{known.mean():.2f}" if len(known) else "–"


def _class_layer(subject: Subject, layer: str) -> tuple[str, str]:
    """The last stage, or the one that was asked for; and why there is none."""
    try:
        places = stages_of(subject.network, subject.preprocess.image_shape)
    except DoesNotApply as error:
        return "", f"no Grad-CAM: {error}"
    return layer or places[-1].path, ""


def of_different_classes(labels: np.ndarray, count: int) -> list[int]:
    """The first images of as many classes as possible."""
    firsts = set(np.unique(labels, return_index=True)[1].tolist())
    others = [i for i in range(len(labels)) if i not in firsts]
    return sorted([*sorted(firsts), *others][:count])


def units_section(
    subjects: Sequence[Subject], pictures: Pictures, choice: Choice
) -> Section:
    """Units of a few layers: what they like best, and the patches that excite them."""
    groups, arrays, notes = [], {}, []
    remembered = int(np.clip(len(pictures.images) // 20, PATCHES, REMEMBERED))
    for number, subject in enumerate(subjects):
        shape = subject.preprocess.image_shape
        try:
            places = stages_of(subject.network, shape)
        except DoesNotApply as error:
            notes.append(f"{subject.label}: {error}.")
            continue
        chosen = np.unique(np.linspace(0, len(places) - 1, LAYERS).round().astype(int))
        places = [places[i] for i in chosen]
        batches = (
            subject.given(pictures.images[start : start + BATCH])
            for start in range(0, len(pictures.images), BATCH)
        )
        given = subject.network, subject.variables, batches, places, remembered
        panels = []
        for path, found in strongest(*given).items():
            choice.say(f"images that units of {path} like best, {subject.label}")
            panels.append(_units_of(subjects, subject, found, pictures, choice))
            name = f"{slug(subject.label)}_{slug(path)}"
            arrays[f"{name}_values"] = found.values
            arrays[f"{name}_images"] = found.images
            arrays[f"{name}_positions"] = found.positions
            if pictures.labelled:
                count = int(pictures.labels.max()) + 1
                arrays[f"{name}_classes"] = classes_of(found, pictures.labels, count)
        groups.append(group(f"units-{number + 1}", panels, columns=2))
    text = (
        f"Units of three layers, each with what its position sees in the {PATCHES} of "
        f"{pictures.words} that excite it most; grey lies outside the image. The "
        "framed picture is made: gradient ascent from noise, drawn towards grey and "
        f"towards smoothness; where it stays grey, the unit is silent. Classes are "
        f"those of the {remembered} strongest images. "
        "Shown are the units whose strongest answers stand out most from their usual "
        "ones."
    )
    return Section("units", "What units detect", text, groups, [], arrays, notes)


def _units_of(
    subjects: Sequence[Subject],
    subject: Subject,
    found: Strongest,
    pictures: Pictures,
    choice: Choice,
) -> Panel:
    """The panel of one layer."""
    units = _telling(found, UNITS)
    dreams = dream(subject, found.place.path, units, choice.seed)
    words = [_in_words(found, unit, pictures) for unit in units]
    rows, columns = found.place.extent
    sees = f"{found.place.path} (sees {rows}×{columns} px)"
    title = title_of(subjects, subject, sees)
    wanted = np.unique(found.images[units, :PATCHES]).tolist()
    read = {i: pictures.images[i] for i in wanted}
    return draw.unit_panel(found, units, read, dreams, words, title, PATCHES)


def _telling(found: Strongest, count: int) -> list[int]:
    """Units whose largest value is furthest above the last one that is remembered."""
    spread = found.values.std(axis=1)
    above = found.values[:, 0] - found.values[:, -1]
    order = np.argsort(-np.where(spread > 0, above, -np.inf), kind="stable")
    return sorted(order[:count].tolist())


def _in_words(found: Strongest, unit: int, pictures: Pictures) -> str:
    words = f"unit {unit}"
    if not pictures.labelled:
        return words
    names, counts = np.unique(pictures.labels[found.images[unit]], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:3]
    share = 100 / found.images.shape[1]
    parts = (f"{pictures.name(names[i])} {share * counts[i]:.0f}%" for i in order)
    return f"{words}: {', '.join(parts)}"


def dream(
    subject: Subject, layer: str, units: Sequence[int], seed: int
) -> np.ndarray | None:
    """uint8 [units, H, W, C]; None where pixels have no fixed bounds."""
    if subject.preprocess.statistics.per_image:
        return None
    shape = subject.preprocess.image_shape
    low, high = (
        np.asarray(subject.given(np.full((1, *shape), value, np.uint8)))[0]
        for value in (0, 255)
    )
    made, _ = subject.run(
        lambda v, low, high, units: maximise(
            subject.network, v, (low, high), layer, units, seed
        ),
        *(jnp.asarray(low), jnp.asarray(high), jnp.asarray(list(units))),
    )
    return np.round(255 * (made - low) / (high - low)).astype(np.uint8)
