"""Any TFDS set that is prepared as ArrayRecord files; needs no TensorFlow.

Looked for in `<data_dir>/<name>/[<TFDS config>/]<version>/dataset_info.json`; of
several versions the highest is read.
"""

import collections
import contextlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl.logging import get_absl_logger

from cnnjax.data import array_cache
from cnnjax.data.contents import Ignored
from cnnjax.data.decoded_cache import key_of
from cnnjax.data.images import JPEG_START
from cnnjax.data.request import Request
from cnnjax.data.sources.description import check_description
from cnnjax.data.sources.encoded import decoding
from cnnjax.data.sources.shards import (
    MOST_SHOWN,
    blocks,
    most_of_record,
    readable,
    record_sizes,
    require_records,
)
from cnnjax.data.sources.source import (
    MissingData,
    Pool,
    Source,
    check_directory,
    data_folder,
    reading,
)
from cnnjax.errors import UserError, printable, shown
from cnnjax.texts import sentence

# 'tfds:<name>' reads any set; these have short names.
PREFIX = "tfds:"
NAMES = ("cifar10", "cifar100", "mnist", "fashion_mnist", "svhn_cropped")
POOLS = ("train", "validation", "test")
# Published as exact pixels: JPEG inside means somebody has changed them.
LOSSLESS = NAMES
CACHE = "labels"
# Of them on disk: oldest entries go first beyond this.
MOST_BYTES = 2**28
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def open_source(request: Request) -> Source:
    """Opens a prepared set; all labels are read, once, and one image.

    Args:
      request: `name` with or without 'tfds:'; `data_dir` the folder that TFDS calls so;
        `image_size` is needed where stored images differ in size.

    Raises:
      UserError: the set is missing, broken, not ArrayRecord, or not images with labels.
    """
    name = request.name.removeprefix(PREFIX)
    directory = find_prepared(name, request.data_dir)
    with _understood(directory):
        builder = _open_builder(directory)
        image_key, label_key = _keys(builder.info, name)
        splits, features = builder.info.splits, builder.info.features
        stored = features[image_key].shape[-1]
        sizes = {p: splits[p].num_examples for p in POOLS if p in splits}
        if "train" not in sizes:
            raise UserError(
                f"{directory} has no split 'train', only {', '.join(splits)}"
            )
        if not sizes["train"]:
            raise UserError(
                f"{directory} has no record in the split 'train': delete that folder "
                "and prepare it again"
            )
        # Before the library of the records sees them.
        known = _known(directory, builder.info, list(sizes), image_key, label_key)
        require_records(directory, builder.info, POOLS)
        for pool, num in sizes.items():
            with readable(directory, pool):
                if len(known.bytes[pool]) != num:
                    raise ValueError("the index and the records of a file differ")
        sources = {pool: _open_split(builder, pool) for pool in sizes}

    def records(pool: str, indices: np.ndarray) -> Iterator[tuple[str, Any]]:
        from tensorflow_datasets.proto import tf_example_pb2

        for block in blocks(indices, known.bytes[pool]):
            with readable(directory, pool):
                raw = sources[pool].__getitems__(block.tolist())
            for index, content in zip(block, raw, strict=True):
                with readable(directory, pool):
                    # Parsing the field that matters is several times faster than going
                    # through TFDS's feature decoding.
                    fields = tf_example_pb2.Example.FromString(content).features.feature
                yield f"{directory.name} {pool} record {index}", fields

    def images(pool: str, indices: np.ndarray) -> Iterator[tuple[str, bytes]]:
        for where, fields in records(pool, indices):
            with readable(directory, pool):
                yield where, _only(fields[image_key].bytes_list.value)

    def labels(pool: str) -> Iterator[int]:
        for _, fields in records(pool, np.arange(sizes[pool])):
            with readable(directory, pool):
                yield _only(fields[label_key].int64_list.value)

    def files() -> Iterator[str]:
        names = os.listdir(directory)
        return (name for name in names if os.path.isfile(directory / name))

    found = known.labels or known.keep(
        {p: np.fromiter(labels(p), np.int64, num) for p, num in sizes.items()}
    )
    certain = request.channels or {1: 1, 3: 3, 4: 3}.get(stored, 0)
    _, first = next(images("train", np.array([0])))
    shape, read = decoding(images, found, request, certain)
    return Source(
        # Not stratified: the choice of images is older than the knowledge of labels.
        {pool: Pool(num, found[pool], False) for pool, num in sizes.items()},
        tuple(map(printable, features[label_key].names)),
        shape,
        read,
        _note(name, first),
        directory,
        files,
        tuple(
            Ignored(f"record of the split {split!r}", splits[split].num_examples)
            for split in sorted(splits.keys() - sizes.keys())
        ),
        certain=bool(certain) or shape[2] == 3,
    )


class _Known(NamedTuple):
    """What the user's cache folder keeps of records, so that they are read once.

    Args:
      key: of the files as they are.
      bytes: pool -> what each record unpacks to, int64.
      labels: pool -> as they are, int64; empty where they were not read yet.
    """

    key: str
    bytes: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]

    def keep(self, labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The labels, and the cache has them."""
        sizes = {f"bytes of {pool}": array for pool, array in self.bytes.items()}
        array_cache.keep(CACHE, self.key, MOST_BYTES, **labels, **sizes)
        return labels


def _known(
    directory: Path, info: Any, pools: list[str], image_key: str, label_key: str
) -> _Known:
    most = most_of_record(info.features[image_key])
    files = (file for file in directory.iterdir() if file.is_file())
    key = key_of(files, (CACHE, label_key, str(most)))
    of_bytes = [f"bytes of {pool}" for pool in pools]
    found = array_cache.find(CACHE, key, (*pools, *of_bytes))
    if found is not None:
        labels, sizes = found[: len(pools)], found[len(pools) :]
        return _Known(
            key,
            dict(zip(pools, sizes, strict=True)),
            dict(zip(pools, labels, strict=True)),
        )
    measured = {}
    for pool in pools:
        with readable(directory, pool):
            measured[pool] = np.concatenate(
                [
                    record_sizes(directory, part.filename, most)
                    for part in info.splits[pool].file_instructions
                ]
                or [np.zeros(0, np.int64)]
            )
    return _Known(key, measured, {})


def find_prepared(name: str, data_dir: str) -> Path:
    """The folder of the highest prepared version of a set.

    That is `<data_dir>/<name>/<version>`; or, where a set has configs and one of them
    is there, `<data_dir>/<name>/<config>/<version>`.

    Raises:
      UserError: `data_dir` is empty, missing or unreadable; the set is not in it, or in
        several configs.
    """
    command = (
        f"./launch.sh prepare --dataset={name} --data_dir={data_dir or '<folder>'}"
    )
    if not data_dir:
        raise MissingData(
            f"config.data.data_dir is empty, but {name} is read from prepared files: "
            f"give the folder that holds them, or prepare them with {command}"
        )
    root = data_folder(data_dir)
    if not name.strip("./ "):
        raise UserError(
            f"config.data.name is {PREFIX + name!r}: give the name of a set behind it"
        )
    if not os.path.exists(root):
        raise MissingData(
            f"{name} is not there: the folder {root} does not exist "
            "(config.data.data_dir or --data_dir); with a network, prepare it with "
            f"{command}"
        )
    check_directory(root)
    # What may not be read must not be taken for missing.
    for folder in (root / name, *(root / name).glob("*")):
        if folder.is_dir():
            check_directory(folder)
    found = _versions(root / name)
    if not found:
        configs = {
            folder.name: versions
            for folder in sorted((root / name).glob("[!.]*/"))
            if (versions := _versions(folder))
        }
        if len(configs) > 1:
            raise UserError(
                f"{name} is in {root} in several configs: give one of them as "
                f"config.data.name, such as {PREFIX}{name}/{min(configs)}; there are "
                f"{', '.join(configs)}"
            )
        found = next(iter(configs.values()), {})
    if not found:
        raise MissingData(
            f"{name} is not there: no dataset_info.json in "
            f"{root / name}/<version>/ (config.data.data_dir or --data_dir); with a "
            f"network, prepare it with {command}"
        )
    check_directory(found[max(found)])
    return found[max(found)]


def _versions(folder: Path) -> dict[tuple[int, ...], Path]:
    """Version -> its folder, of those that are prepared in a folder."""
    found = {}
    for info in folder.glob("*/dataset_info.json"):
        if version := _VERSION.fullmatch(info.parent.name):
            found[tuple(int(part) for part in version.groups())] = info.parent
    return found


@contextlib.contextmanager
def _understood(directory: Path) -> Iterator[None]:
    """Says in one sentence that TFDS cannot make sense of a folder."""
    try:
        with reading(directory):
            yield
    except UserError:
        raise
    # Its readers raise whatever their JSON and protobuf libraries raise.
    except Exception as error:
        reason = sentence(error, MOST_SHOWN)
        raise UserError(
            f"{directory} cannot be read as a TFDS set ({reason}): delete "
            "that folder and prepare it again"
        ) from error


def _open_builder(directory: Path):
    check_description(directory)
    # TFDS is imported here, and not above, because it takes half a second.
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(directory)
    stored = builder.info.file_format
    if stored is None or stored.value != "array_record":
        kind = stored.value if stored else "an unknown format"
        raise UserError(
            f"{directory} is stored as {kind}, which needs TensorFlow to read: prepare "
            "it with file_format='array_record'"
        )
    return builder


def check_prepared(directory: Path) -> None:
    """Refuses a set that is broken, whatever is in it; reads no record.

    Raises:
      UserError: says what is wrong with which file.
    """
    with _understood(directory):
        builder = _open_builder(directory)
        require_records(directory, builder.info, POOLS)


def _open_split(builder, split: str):
    from tensorflow_datasets.core.decode import DeserializeMethod

    # Filters, and not the level: several threads read.
    get_absl_logger().addFilter(_is_no_group_size)
    return builder.as_data_source(split, deserialize_method=DeserializeMethod.RAW_BYTES)


def _keys(info, name: str) -> tuple[str, str]:
    """Names of the features that hold the image and the label."""
    import tensorflow_datasets as tfds

    keys, features = info.supervised_keys, dict(info.features.items())
    pair = isinstance(keys, tuple) and len(keys) == 2
    image, label = keys if pair and set(keys) <= set(features) else ("image", "label")
    # By type: a sequence of labels or images answers for what is in it.
    if not isinstance(features.get(image), tfds.features.Image) or not (
        isinstance(features.get(label), tfds.features.ClassLabel)
        and features[label].num_classes
    ):
        held = ", ".join(f"{key} ({type(f).__name__})" for key, f in features.items())
        raise UserError(
            f"{name} is no image classification set: it needs an image (Image) and one "
            f"class label (ClassLabel) each, it has {held}; choose another "
            "config.data.name"
        )
    dtype = np.dtype(features[image].np_dtype)
    if dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"the images of {name} are {dtype}: only uint8 and uint16 have a black and "
            "a white; choose another config.data.name"
        )
    names = collections.Counter(features[label].names)
    for twice, times in names.most_common(1):
        if times > 1:
            raise UserError(
                f"{name} has {times} classes of the same name {shown(twice)}: choose "
                "another config.data.name, or correct its labels.txt"
            )
    return image, label


def _only(values: Any) -> Any:
    if len(values) != 1:
        raise ValueError(f"{len(values):,} images or labels in a record, not one")
    return values[0]


def _is_no_group_size(record: logging.LogRecord) -> bool:
    """Drops what array_record logs as an error about harmless group sizes."""
    return "requires group size" not in record.getMessage()


def _note(name: str, encoded: bytes) -> str:
    if name in LOSSLESS and encoded.startswith(JPEG_START):
        return (
            f"{name}: these images are stored as lossy JPEG, not with the original "
            "pixels; errors are not comparable with published ones"
        )
    return ""
