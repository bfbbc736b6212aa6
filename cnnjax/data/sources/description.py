"""Checks what a prepared TFDS folder says of itself, before TFDS acts on it.

TFDS imports the module of any class that `features.json` names, opens any path that a
template of file names gives, and believes all numbers.
"""

import collections
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnnjax.errors import UserError, printable, shown
from cnnjax.files import open_regular, read_regular

# Features that image sets have; TFDS's other classes need programs or packages.
_FEATURES = (
    "bounding_boxes.BBoxFeature",
    "class_label_feature.ClassLabel",
    "features_dict.FeaturesDict",
    "image_feature.Image",
    "labeled_image.LabeledImage",
    "scalar.Scalar",
    "sequence_feature.Sequence",
    "tensor_feature.Tensor",
    "text_feature.Text",
)
CLASSES = frozenset(f"tensorflow_datasets.core.features.{name}" for name in _FEATURES)
MOST_CLASSES = 2**20
# Of a description: a million class names take a fifth of it.
MOST_BYTES = 2**26
MOST_SHARD_BYTES = 2**40
MOST_SHARDS = 20_000  # of all splits; those of the largest sets are a few thousand
# Of numbers and texts. Any other word makes TFDS look for TensorFlow.
DTYPES = frozenset(
    (
        *("bool", "int8", "int16", "int32", "int64", "string", "object"),
        *("uint8", "uint16", "uint32", "uint64", "complex64", "complex128"),
        *("float16", "bfloat16", "float32", "float64"),
    )
)
# What names of files are made of, without the rest of Python's formats.
_TEMPLATE = re.compile(
    r"([\w.-]|\{(DATASET|SPLIT|FILEFORMAT|SHARD_INDEX|NUM_SHARDS|SHARD_X_OF_Y)\})*"
)
DESCRIBING = (".json", ".txt")


def require_utf8(folder: Path) -> None:
    """Refuses a path that the library of the records cannot open."""
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{printable(folder)} is no UTF-8, and sets of TFDS cannot be read there: "
            "rename the folder, or change config.data.data_dir or --data_dir"
        ) from error


def check_description(directory: Path) -> None:
    """Refuses a folder in which TFDS would run code of others, or never end.

    Args:
      directory: of a version, such as `<data_dir>/mnist/3.0.1`.

    Raises:
      UserError: a class beyond `CLASSES`, a negative number, more or fewer names than
        classes, a description that is no regular file or too large.
      Exception: what JSON and protobuf raise for files that are none.
    """
    from google.protobuf import json_format
    from tensorflow_datasets.core.proto import dataset_info_pb2, feature_pb2

    require_utf8(directory)
    for name in os.listdir(directory):
        if name.endswith(DESCRIBING):
            open_regular(directory / name, MOST_BYTES).close()
    # Parsed as TFDS parses them, so that both see the same.
    info: Any = dataset_info_pb2.DatasetInfo()
    json_format.Parse(_text(directory / "dataset_info.json"), info)
    named = [info.features]
    if (directory / "features.json").exists():
        described = json.loads(_text(directory / "features.json"))
        named.append(json_format.ParseDict(described, feature_pb2.Feature()))
    for outer in named:
        for feature in _features(outer):
            _check_feature(directory, feature)
        for key, feature in outer.features_dict.features.items():
            if feature.WhichOneof("content") == "class_label":
                _check_names(directory, key, feature.class_label.num_classes)
    for name in (info.name, *(split.name for split in info.splits)):
        if "/" in name:
            raise UserError(
                f"{printable(directory)}/dataset_info.json has the name {shown(name)}, "
                "and records of other folders are not read: delete that folder and "
                "prepare it again"
            )
    _check_splits(directory, info.splits)


def _check_splits(directory: Path, splits: Any) -> None:
    where = f"{printable(directory)}/dataset_info.json"
    for name, times in collections.Counter(s.name for s in splits).most_common(1):
        if times > 1:
            raise UserError(
                f"{where} has the split {shown(name)} more than once: delete that "
                "folder and prepare it again"
            )
    if (shards := sum(max(1, len(s.shard_lengths)) for s in splits)) > MOST_SHARDS:
        raise UserError(
            f"{where} names {shards:,} files of records: at most {MOST_SHARDS:,} are "
            "possible; prepare the set again, in fewer files"
        )
    for split in splits:
        if not _TEMPLATE.fullmatch(split.filepath_template):
            raise UserError(
                f"{printable(directory)}/dataset_info.json names the files of split "
                f"{shown(split.name)} {shown(split.filepath_template)}, which is no "
                "name of files: delete that folder and prepare it again"
            )
        if min(split.shard_lengths, default=0) < 0:
            raise UserError(
                f"{printable(directory)}/dataset_info.json says that a file of split "
                f"{shown(split.name)} has {min(split.shard_lengths)} records: delete "
                "that folder and prepare it again"
            )


def check_shard(directory: Path, path: os.PathLike) -> tuple[int, int] | None:
    """Refuses a file of records that lies elsewhere, or is no regular file.

    Returns:
      What it has in common with other names of the same file; None where there is
      none, which the reader says better.

    Raises:
      UserError: names the file.
    """
    if os.path.relpath(path, directory).startswith(os.pardir):
        raise UserError(
            f"{printable(directory)}/dataset_info.json names {printable(path)}, "
            "which does not lie in that folder: delete the folder and prepare it "
            "again"
        )
    try:
        with open_regular(path, MOST_SHARD_BYTES) as file:
            found = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _check_names(directory: Path, key: str, num_classes: int) -> None:
    """Compares names of classes with their number; TFDS lets the names decide it."""
    path = directory / f"{key}.labels.txt"
    if "/" in key or not os.path.lexists(path):
        return  # TFDS then numbers them
    do = "correct that file, or delete it to have the classes numbered"
    try:
        # Lines as TFDS reads them.
        lines = io.StringIO(_text(path), newline=None).read().split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{printable(path)} is no UTF-8: {do}") from error
    names = sum(bool(line.strip()) for line in lines)
    if names != num_classes:
        raise UserError(
            f"{printable(path)} names {names:,} classes, but features.json says "
            f"{num_classes:,}: {do}"
        )


def _text(path: Path) -> str:
    return read_regular(path, MOST_BYTES).decode()


def _features(feature: Any) -> Iterator[Any]:
    """A feature that is set, and all within it."""
    if not feature.ByteSize():
        return
    yield feature
    for inner in feature.features_dict.features.values():
        yield from _features(inner)
    yield from _features(feature.sequence.feature)


def _check_feature(directory: Path, feature: Any) -> None:
    name, where = feature.python_class_name, f"{printable(directory)}/features.json"
    # What TFDS itself wrote for these classes is no JSON, in which others could hide.
    if name not in CLASSES or feature.WhichOneof("content") == "json_feature":
        raise UserError(
            f"{where} names the class {shown(name)}, and reading it could run other "
            "code than TFDS's: only sets whose features are "
            f"{', '.join(n.rpartition('.')[2] for n in _FEATURES)} of TFDS are read; "
            "choose another config.data.name"
        )
    for held in (feature.tensor, feature.image, feature.bounding_box):
        if held.dtype and held.dtype not in DTYPES:
            raise UserError(
                f"{where} has the unknown dtype {shown(held.dtype)}: delete that "
                "folder and prepare it again"
            )
    for label in (feature.class_label, feature.image.label):
        if not 0 <= label.num_classes <= MOST_CLASSES:
            raise UserError(
                f"{where} says {label.num_classes:,} classes: 0 to {MOST_CLASSES:,} "
                "are possible; choose another config.data.name"
            )
