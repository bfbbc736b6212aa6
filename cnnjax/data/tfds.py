"""Any TFDS set that is prepared as ArrayRecord files; needs no TensorFlow.

Looked for in `<data_dir>/<name>/[<TFDS config>/]<version>/dataset_info.json`; of
several versions the highest is read.
"""

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl.logging import get_absl_logger

from cnnjax.data.images import JPEG_START, decode_all, decoded_shape
from cnnjax.data.source import Pool, Request, Source, check_directory
from cnnjax.errors import UserError

# 'tfds:<name>' reads any set; these have short names.
PREFIX = "tfds:"
NAMES = ("cifar10", "cifar100", "mnist", "fashion_mnist", "svhn_cropped")
POOLS = ("train", "validation", "test")
# Published as exact pixels: JPEG inside means somebody has changed them.
LOSSLESS = NAMES
BLOCK = 1024  # records read at once
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def open_source(request: Request) -> Source:
    """Opens a prepared set without decoding anything.

    Args:
      request: `name` with or without 'tfds:'; `data_dir` the folder that TFDS calls so;
        `image_size` is needed where stored images differ in size.

    Raises:
      UserError: the set is missing, broken, not ArrayRecord, or not images with labels.
    """
    name = request.name.removeprefix(PREFIX)
    directory = find_prepared(name, request.data_dir)
    builder = _open_builder(directory)
    image_key, label_key = _keys(builder.info, name)
    splits = builder.info.splits
    pools = {p: Pool(splits[p].num_examples) for p in POOLS if p in splits}
    if "train" not in pools:
        raise UserError(f"{directory} has no split 'train', only {', '.join(splits)}")
    sources = {pool: _open_split(builder, pool) for pool in pools}

    def records(pool: str, indices: np.ndarray) -> Iterator[tuple[str, bytes, int]]:
        from tensorflow_datasets.proto import tf_example_pb2

        for start in range(0, len(indices), BLOCK):
            block = [int(i) for i in indices[start : start + BLOCK]]
            with _readable(directory, pool):
                raw = sources[pool].__getitems__(block)
            for index, content in zip(block, raw, strict=True):
                with _readable(directory, pool):
                    # Parsing the two fields that matter is several times faster than
                    # going through TFDS's feature decoding.
                    fields = tf_example_pb2.Example.FromString(content).features.feature
                    image = fields[image_key].bytes_list.value[0]
                    label = fields[label_key].int64_list.value[0]
                yield f"{directory.name} {pool} record {index}", image, label

    size = request.image_size
    first_name, first, _ = next(records("train", np.array([0])))
    shape = decoded_shape(first, first_name, size)

    def read(pool: str, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels = np.empty(len(indices), np.int32)

        def images() -> Iterator[tuple[str, bytes]]:
            for row, (where, image, label) in enumerate(records(pool, indices)):
                labels[row] = label
                yield where, image

        return decode_all(images(), len(indices), shape[2], size), labels

    names = tuple(builder.info.features[label_key].names)
    note = _note(name, first)
    return Source(pools, names, shape, read, note, directory, directory.iterdir)


def find_prepared(name: str, data_dir: str) -> Path:
    """The folder of the highest prepared version of a set.

    Raises:
      UserError: `data_dir` is empty, missing or unreadable; the set is not in it.
    """
    command = (
        f"./launch.sh prepare --dataset={name} --data_dir={data_dir or '<folder>'}"
    )
    if not data_dir:
        raise UserError(
            f"config.data.data_dir is empty, but {name} is read from prepared files: "
            f"give the folder that holds them, or prepare them with {command}"
        )
    root = Path(data_dir).expanduser()
    if not name.strip("./ "):
        raise UserError(
            f"config.data.name is {PREFIX + name!r}: give the name of a set behind it"
        )
    if not os.path.exists(root):
        raise UserError(
            f"{name} is not there: the folder {root} does not exist "
            "(config.data.data_dir or --data_dir); with a network, prepare it with "
            f"{command}"
        )
    check_directory(root)
    # What may not be read must not be taken for missing.
    for folder in (root / name, *(root / name).glob("*")):
        if folder.is_dir():
            check_directory(folder)
    found = {}
    for info in (root / name).glob("**/dataset_info.json"):  # a name is no pattern
        if version := _VERSION.fullmatch(info.parent.name):
            found[tuple(int(part) for part in version.groups())] = info.parent
    if not found:
        raise UserError(
            f"{name} is not there: no dataset_info.json in "
            f"{root / name}/<version>/ (config.data.data_dir or --data_dir); with a "
            f"network, prepare it with {command}"
        )
    check_directory(found[max(found)])
    return found[max(found)]


def _open_builder(directory: Path):
    # TFDS is imported here, and not above, because it takes half a second.
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(directory)
        stored = builder.info.file_format
    # Its readers raise whatever their JSON and protobuf libraries raise.
    except Exception as error:
        raise UserError(
            f"{directory} cannot be read as a TFDS set ({_one_line(error)}): delete "
            "that folder and prepare it again"
        ) from error
    if stored is None or stored.value != "array_record":
        kind = stored.value if stored else "an unknown format"
        raise UserError(
            f"{directory} is stored as {kind}, which needs TensorFlow to read: prepare "
            "it with file_format='array_record'"
        )
    return builder


def _open_split(builder, split: str):
    from tensorflow_datasets.core.decode import DeserializeMethod

    # Filters, and not the level: several threads read.
    get_absl_logger().addFilter(_is_no_group_size)
    return builder.as_data_source(split, deserialize_method=DeserializeMethod.RAW_BYTES)


def _keys(info, name: str) -> tuple[str, str]:
    """Names of the features that hold the image and the label."""
    image, label = info.supervised_keys or ("image", "label")
    features = info.features
    if image in features and label in features and hasattr(features[label], "names"):
        return image, label
    raise UserError(
        f"{name} is no image classification set: it needs an image and a class label, "
        f"it has {', '.join(features)}; choose another config.data.name"
    )


@contextlib.contextmanager
def _readable(directory: Path, split: str):
    from google.protobuf.message import DecodeError

    try:
        yield
    # array_record raises RuntimeError, a record without the field IndexError.
    except (RuntimeError, IndexError, DecodeError) as error:
        raise UserError(
            f"the records of split {split!r} in {directory} are missing, cut short or "
            f"corrupt ({_one_line(error)}): delete that folder and prepare it again"
        ) from error


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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
