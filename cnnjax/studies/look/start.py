"""From the flags of `look` to nets, images and the page."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from cnnjax.analysis.places import places_of
from cnnjax.data.request import Request
from cnnjax.devices.compile_cache import use_compile_cache
from cnnjax.errors import UserError, near_matches, printable
from cnnjax.models.registry import variant
from cnnjax.screen import say
from cnnjax.studies.look.program import check_views, look, progress
from cnnjax.studies.look.section import Choice
from cnnjax.studies.look.subject import (
    Pictures,
    Subject,
    check_weights,
    first_seed,
    of_files,
    of_runs,
    pictures_of_data,
    pictures_of_file,
    pictures_of_run,
)

# What the published nets for ImageNet and CIFAR-10 take, by number of channels.
MEANS = {1: [0.5], 3: [0.485, 0.456, 0.406]}
STDS = {1: [0.5], 3: [0.229, 0.224, 0.225]}
POINTS = 500  # images in the space of features
SALIENCY_IMAGES = 4


@dataclasses.dataclass(frozen=True)
class Asked:
    """The flags of `experiments/look.py`, as they were given."""

    workdirs: Sequence[str]
    model: str
    weights: Sequence[str]
    source: str
    seeds: Sequence[str]
    views: Sequence[str]
    layer: str
    image: int
    split: str
    data: str
    images: str
    data_dir: str
    mean: Sequence[str]
    std: Sequence[str]
    most: int
    grid: int
    out: str


def show_inside(asked: Asked) -> int:
    """Draws what was asked for, and says where it is.

    Raises:
      UserError: flags that do not go together; nets or images that are not there.
    """
    start = time.monotonic()
    views = check_views(asked.views)
    if bool(asked.workdirs) == bool(asked.model):
        raise UserError(
            "give either runs (--workdir) or a net of the registry (--model), "
            f"{'not both' if asked.model else 'and there is neither'}"
        )
    use_compile_cache()
    subjects, pictures = _of_runs(asked) if asked.workdirs else _of_model(asked)
    labels = [subject.label for subject in subjects]
    if len(set(labels)) < len(labels):
        raise UserError(
            f"{max(labels, key=labels.count)} is given twice: leave one of them out"
        )
    if asked.image >= len(pictures.images):
        raise UserError(
            f"--image={asked.image} is not there: there are {len(pictures.images)} "
            "images, counted from 0 (--most)"
        )
    for subject in subjects:
        if asked.layer:
            _require_layer(subject, asked.layer)
        say(subject.words)
    choice = Choice(
        layer=asked.layer,
        image=asked.image,
        num_images=SALIENCY_IMAGES,
        points=POINTS,
        seed=0,
        grid=asked.grid,
        say=progress(start),
    )
    page = look(subjects, pictures, views, choice, _folder(asked))
    say(f"{printable(page)}: pictures and arrays of {', '.join(views)} are beside it")
    return 0


def _require_layer(subject: Subject, layer: str) -> None:
    known = places_of(subject.network, subject.preprocess.image_shape)
    if layer not in known:
        close = near_matches(layer, known)
        hint = f": did you mean {' or '.join(close)}?" if close else ""
        raise UserError(
            f"{subject.label} has no layer --layer={layer}{hint} (./launch.sh profile "
            "lists them)"
        )


def _folder(asked: Asked) -> Path:
    if asked.out:
        return Path(asked.out).expanduser()
    if asked.workdirs:
        return Path(asked.workdirs[0]).expanduser() / "look"
    return Path("runs/look") / asked.model


def _of_runs(asked: Asked) -> tuple[list[Subject], Pictures]:
    for flag in ("data", "mean", "std"):
        if getattr(asked, flag):
            raise UserError(
                f"--{flag} is for --model; a run brings its data and standardisation"
            )
    weights = asked.weights or ["last"]
    check_weights(weights)
    first = asked.workdirs[0]
    seeds = _seeds(asked.seeds) or [first_seed(first)]
    subjects = of_runs(asked.workdirs, weights, seeds, asked.data_dir)
    if asked.images:
        return subjects, pictures_of_file(asked.images, asked.most)
    return subjects, pictures_of_run(
        first, seeds[0], asked.data_dir, asked.split, asked.most
    )


def _of_model(asked: Asked) -> tuple[list[Subject], Pictures]:
    variant(asked.model)
    if bool(asked.data) == bool(asked.images):
        raise UserError(
            "a net of the registry needs images to look at: give either --data (such "
            "as digits, or cifar10 with --data_dir) or --images (an .npz file)"
        )
    if asked.images:
        pictures = pictures_of_file(asked.images, asked.most)
    else:
        pictures = pictures_of_data(_request(asked), asked.split, asked.most)
    height, width, channels = pictures.images.shape[1:]
    mean = _numbers("mean", asked.mean) or MEANS.get(channels, [0.5])
    std = _numbers("std", asked.std) or STDS.get(channels, [0.5])
    # A data set that names its classes may be another than that of the net's entry.
    classes = len(pictures.class_names) if asked.data and not asked.weights else None
    subjects = of_files(
        *(asked.model, asked.weights, asked.source, (height, width, channels)),
        *(mean, std, classes),
    )
    return subjects, pictures


def _request(asked: Asked) -> Request:
    return Request(
        name=asked.data,
        data_dir=asked.data_dir,
        num_train=0,
        num_validation=0,
        num_test=0,
        split_seed=0,
        image_size=0,
        num_classes=0,
        delivery="auto",
    )


def _seeds(words: Sequence[str]) -> list[int]:
    for word in words:
        if not (word.isascii() and word.isdigit()):
            raise UserError(
                f"--seed takes seeds of the runs, such as 0,1, not {','.join(words)}"
            )
    return [int(word) for word in words]


def _numbers(flag: str, words: Sequence[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise UserError(f"--{flag} takes numbers, not {','.join(words)}") from error
