"""What is looked at: nets with their weights, and images with their classes."""

import dataclasses
import io
import itertools
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnjax import interop
from cnnjax.data.dataset import load_dataset
from cnnjax.data.preprocess import Preprocess
from cnnjax.data.request import Request
from cnnjax.data.standardize import Statistics
from cnnjax.devices.parallel import compile_program
from cnnjax.errors import UserError, printable, unknown_name
from cnnjax.files import read_regular
from cnnjax.models.registry import create_model, variant
from cnnjax.net.initialize import init_variables
from cnnjax.record_kinds import RESULT, WHOLE_CONFIG
from cnnjax.records import is_there, read_record, sift_record
from cnnjax.run.settings import data_request
from cnnjax.run.trained.cells import find_cell, seeds_of
from cnnjax.run.trained.load import load_run, parts_of
from cnnjax.run.trained.net import WEIGHTS

BATCH = 100  # images
MOST_BYTES = 2**31  # of a file with images
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A net with weights.

    Attributes:
      label: short, for titles and legends.
      words: what it is, in a line.
      network: the Linen module, with its blocks run one by one.
      variables: to match.
      preprocess: images uint8 -> what the net takes.
      num_classes: logits.
      probes: what its run measured while it trained, as in `result.json`.
    """

    label: str
    words: str
    network: nn.Module
    variables: Any
    preprocess: Preprocess
    num_classes: int
    probes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def given(self, images: np.ndarray) -> jax.Array:
        """What the net takes for images uint8 [N, H, W, C]."""
        return jnp.asarray(self.preprocess(images))

    def program(self, function: Callable, *arguments: Any) -> Callable:
        """function(variables, *arguments) as a program that gives NumPy arrays."""
        compiled = compile_program(function, (self.variables, *arguments))
        return lambda *given: jax.tree.map(np.asarray, compiled(*given))

    def run(self, function: Callable, *arguments: Any) -> Any:
        """function(variables, *arguments) of this net, computed once."""
        return self.program(function, *arguments)(self.variables, *arguments)

    def over_batches(self, function: Callable, images: np.ndarray) -> Any:
        """function(variables, x) of all images, batch after batch, joined."""
        size = min(BATCH, len(images))
        program, parts = None, []
        for start in range(0, len(images), size):
            # The last batch is filled up with the end of the one before.
            first = min(start, len(images) - size)
            x = self.given(images[first : first + size])
            if program is None:
                program = compile_program(function, (self.variables, x))
            new = start - first
            found = program(self.variables, x)
            parts.append(jax.tree.map(lambda y, new=new: np.asarray(y)[new:], found))
        return jax.tree.map(lambda *each: np.concatenate(each), *parts)

    def random(self) -> Any:
        """Variables as drawn for a net that has learned nothing."""
        shape = self.preprocess.image_shape
        drawn = init_variables(self.network, shape, (1234,))
        return jax.tree.map(lambda leaf: np.asarray(leaf[0]), drawn)


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """Images to look at nets with.

    Attributes:
      images: uint8 [N, H, W, C].
      labels: int [N]; -1 where unknown.
      class_names: of the labels.
      words: where they come from.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    words: str

    @property
    def labelled(self) -> bool:
        """Whether the class of every image is known."""
        return bool((self.labels >= 0).all())

    def name(self, label: int) -> str:
        """Of a class; its number where there is no name."""
        if 0 <= label < len(self.class_names):
            return self.class_names[label]
        return f"class {label}"


def _of_channels(values: Sequence[float], channels: int) -> np.ndarray:
    """float32 [1, 1, 1, C]; a single value is that of all channels."""
    array = np.asarray(values, np.float32)
    return np.broadcast_to(array, (channels,)).reshape(1, 1, 1, -1).copy()


def first_seed(workdir: str) -> int:
    """The first seed of a run; 0 where there is no run, which `load_run` refuses."""
    config = Path(workdir).expanduser() / "config.json"
    return seeds_of(read_record(config, WHOLE_CONFIG))[0] if is_there(config) else 0


def of_runs(
    workdirs: Sequence[str],
    weights: Sequence[str],
    seeds: Sequence[int],
    data_dir: str,
) -> list[Subject]:
    """The nets of some runs, each with each of some seeds and weights.

    Raises:
      UserError: as of `load_run`.
    """
    found = []
    for workdir in workdirs:
        for seed, each in itertools.product(seeds, weights):
            net = load_run(workdir, each, seed, data_dir=data_dir).plain()
            parts = [Path(workdir).name] if len(workdirs) > 1 else []
            parts += [f"seed {seed}"] if len(seeds) > 1 else []
            parts += [each] if len(weights) > 1 else []
            found.append(
                Subject(
                    label=", ".join(parts) or net.arm,
                    words=net.words() + (f"; note: {net.note}" if net.note else ""),
                    network=net.network,
                    variables=net.variables,
                    preprocess=net.preprocess,
                    num_classes=len(net.class_names),
                    probes=_probes_of(Path(workdir).expanduser(), seed),
                )
            )
    return found


def _probes_of(workdir: Path, seed: int) -> Mapping[str, Any]:
    result, _ = sift_record(
        find_cell(workdir, seed) / f"seed-{seed}" / "result.json", RESULT
    )
    return (result or {}).get("probes") or {}


def of_files(
    model: str,
    files: Sequence[str],
    source: str,
    image_shape: tuple[int, int, int],
    mean: Sequence[float],
    std: Sequence[float],
    num_classes: int | None,
) -> list[Subject]:
    """A net of the registry with the weights of files; without any, its initial ones.

    Raises:
      UserError: as of `interop.load` and `create_model`; means or deviations that do
        not fit the channels.
    """
    channels = image_shape[2]
    for flag, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            raise UserError(
                f"--{flag} has {len(values)} numbers and the images have {channels} "
                "channels: give one, or one for each channel"
            )
    if min(std) <= 0:
        raise UserError("--std has a number that is not above 0: give others")
    statistics = Statistics(_of_channels(mean, channels), _of_channels(std, channels))
    preprocess = Preprocess(image_shape, "channel", statistics, channels == 1)
    entry = variant(model)
    classes = num_classes or entry.num_classes
    overrides: dict[str, Any] = {"num_classes": classes} if num_classes else {}
    if "scan_blocks" in entry.defaults():
        overrides["scan_blocks"] = False
    network = create_model(model, **overrides)
    given = list(files) or [""]
    found = []
    for file in given:
        name = Path(file).name if file else "initial"
        if file:
            variables = interop.load(
                model, file, source, input_shape=image_shape, **overrides
            )
        else:
            drawn = init_variables(network, image_shape, (0,))
            variables = jax.tree.map(lambda leaf: np.asarray(leaf[0]), drawn)
        label = name if len(given) > 1 else model
        words = f"{model}, {'weights of ' + name if file else 'initial weights'}"
        found.append(Subject(label, words, network, variables, preprocess, classes))
    return found


def pictures_of_run(
    workdir: str, seed: int, data_dir: str, split: str, most: int
) -> Pictures:
    """Images of the data of a run, as it evaluates them; see `pictures_of_data`.

    Raises:
      UserError: the data is not there, has no such images, or is not that of the run.
    """
    parts = parts_of(workdir, seed, data_dir=data_dir)
    request = data_request(parts.config)
    if data_dir:
        request = dataclasses.replace(request, data_dir=data_dir)
    return pictures_of_data(request, split, most, parts.ours["data_fingerprint"])


def pictures_of_data(
    request: Request, split: str, most: int, trained_on: str = ""
) -> Pictures:
    """Images of a split of a data set, evenly spread.

    Args:
      request: of the data set.
      split: 'train', 'validation' or 'test'.
      most: images that are taken.
      trained_on: fingerprint that the set must have; '' for any.

    Raises:
      UserError: the data is not there, or has no such images.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS, "--split")
    dataset = load_dataset(request)
    if trained_on not in ("", dataset.fingerprint):
        raise UserError(
            f"the run was trained on other images, or splits, than data set "
            f"{dataset.name} has now (fingerprints {trained_on} and "
            f"{dataset.fingerprint}): give the same data (--data_dir), or other images "
            "(--images)"
        )
    images = getattr(dataset, split)
    if not len(images):
        raise UserError(
            f"data set {dataset.name} has no {split} images: change --split"
        )
    where = _spread(len(images), most)
    pixels, labels = images.read(where)
    words = f"{len(where):,} {split} images of {dataset.name}"
    names = tuple(dataset.class_names)
    return Pictures(np.asarray(pixels), np.asarray(labels), names, words)


def pictures_of_file(path: str, most: int) -> Pictures:
    """Images of an .npz file, evenly spread.

    Args:
      path: a file with `images` uint8 [N, H, W, C], perhaps `labels` int [N] and
        `class_names`.
      most: images that are taken.

    Raises:
      UserError: no such file, or nothing of the kind in it.
    """
    name = printable(path)
    try:
        content = read_regular(Path(path).expanduser(), MOST_BYTES)
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{name} cannot be read as .npz ({error}): give another file by --images"
        ) from error
    images = arrays.get("images", arrays.get("image", np.empty(0)))
    if images.dtype != np.uint8 or images.ndim != 4 or not images.size:
        raise UserError(
            f"{name} has no array 'images', uint8 [N, H, W, C] (it has "
            f"{', '.join(arrays) or 'nothing'}): give another file by --images"
        )
    labels = arrays.get("labels", arrays.get("label", np.full(len(images), -1)))
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise UserError(
            f"the 'labels' of {name} are no whole numbers, one for each image: change "
            "them, or give another file by --images"
        )
    names = tuple(str(each) for each in arrays.get("class_names", ()))
    where = _spread(len(images), most)
    words = f"{len(where):,} images of {Path(path).name}"
    return Pictures(images[where], labels[where].astype(int), names, words)


def _spread(count: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))


def check_weights(weights: Sequence[str]) -> None:
    """Refuses weights of runs that are none."""
    for each in weights:
        if each not in WEIGHTS:
            raise UserError(
                f"--weights={each} is not known with --workdir: give some of "
                f"{', '.join(WEIGHTS)}, or --model for the weights of a file"
            )
