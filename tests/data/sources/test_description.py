"""Prepared sets of strangers: no code of theirs runs, nothing hangs or is believed."""

import json
import os
import shutil
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from cnnjax.data.prepare import prepare
from cnnjax.data.sources.description import CLASSES
from cnnjax.errors import UserError
from tests.data.loading import load
from tests.data.small_sets import image_features, labelled, write_set

VALUES = (None, -1, 1e400, 10**400, "x", [], {}, {"type": "x.Y"})


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A data_dir with the set 'toy'. Do not write to it."""
    root = tmp_path_factory.mktemp("original")
    features = image_features() | {"boxes": tfds.features.Sequence(np.int64)}
    examples = [example | {"boxes": [1, 2]} for example in labelled([0, 1, 2, 1])]
    write_set(root, "toy", features, {"train": examples})
    return root


@pytest.fixture
def toy(original, tmp_path):
    """(data_dir, folder of the version) of a copy that may be broken."""
    root = shutil.copytree(original, tmp_path / "data")
    return root, root / "toy" / "1.0.0"


def read(root, **changes):
    return load("tfds:toy", root, num_test=-1, **changes)


def edit(path, change):
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))


def test_a_set_with_other_features_is_read(toy):
    assert read(toy[0]).train.labels.tolist() == [0, 1, 2, 1]


def test_features_may_be_described_with_the_rest(toy):
    root, folder = toy
    features = json.loads((folder / "features.json").read_text())
    edit(folder / "dataset_info.json", lambda d: d.update(features=features))
    (folder / "features.json").unlink()
    assert read(root).train.labels.tolist() == [0, 1, 2, 1]


# -- code of others --------------------------------------------------------------------

CLASS = "stranger_payload.Feature"
SEQUENCE = "tensorflow_datasets.core.features.sequence_feature.Sequence"
FEATURES = "tensorflow_datasets.core.features.features_dict.FeaturesDict"
OLD = {"type": CLASS, "content": {}}
EVIL = {
    "at the top": {"pythonClassName": CLASS, "text": {}},
    "in the names of proto": {"python_class_name": CLASS, "text": {}},
    "nested": {
        "pythonClassName": SEQUENCE,
        "sequence": {
            "feature": {
                "pythonClassName": FEATURES,
                "featuresDict": {
                    "features": {"a": {"pythonClassName": CLASS, "text": {}}}
                },
            }
        },
    },
    "without a content": {"pythonClassName": CLASS},
    "as JSON": {
        "pythonClassName": SEQUENCE,
        "jsonFeature": {"json": json.dumps({"feature": OLD, "length": 1})},
    },
    "in the old form": OLD,
    "in the old form, nested": {
        "type": SEQUENCE,
        "content": {"feature": OLD, "length": 1},
    },
    "a module of TFDS that is no feature": {
        "pythonClassName": "tensorflow_datasets.testing.Feature",
        "text": {},
    },
}


@pytest.fixture
def payload(tmp_path, monkeypatch):
    """What appears when the module of a stranger is imported."""
    ran = tmp_path / "ran"
    (tmp_path / "stranger_payload.py").write_text(
        f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield ran
    sys.modules.pop("stranger_payload", None)


@pytest.mark.parametrize("case", EVIL)
@pytest.mark.parametrize("place", ["feature", "whole file", "dataset_info.json"])
def test_the_module_of_a_stranger_is_not_imported(toy, payload, case, place):
    root, folder = toy
    if place == "feature":
        change = {"more": EVIL[case]}
        edit(
            folder / "features.json",
            lambda d: d["featuresDict"]["features"].update(change),
        )
    elif place == "whole file":
        (folder / "features.json").write_text(json.dumps(EVIL[case]))
    else:
        edit(folder / "dataset_info.json", lambda d: d.update(features=EVIL[case]))
    before = set(sys.modules)
    with pytest.raises(UserError, match=r"could run other code|cannot be read as a"):
        read(root)
    assert not payload.exists()
    assert "stranger_payload" not in sys.modules
    assert "tensorflow_datasets.testing" not in set(sys.modules) - before


def test_the_payload_would_run(payload):
    """TFDS alone imports it."""
    with pytest.raises(ValueError, match="Unrecognized"):
        tfds.features.FeatureConnector.from_json(EVIL["at the top"])
    assert payload.exists()


def test_what_is_allowed_is_there():
    for name in CLASSES:
        assert tfds.features.FeatureConnector.cls_from_name(name)


# -- files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "dataset_info.json",
        "features.json",
        "label.labels.txt",
        "toy-train.array_record-00000-of-00001",
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "sparse"])
@pytest.mark.parametrize("delivery", ["resident", "streaming"])
def test_only_regular_files_of_a_likely_size_are_opened(toy, name, kind, delivery):
    root, folder = toy
    (folder / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(folder / name)
    elif kind == "device":
        (folder / name).symlink_to("/dev/zero")
    elif kind == "folder":
        (folder / name).mkdir()
    else:
        (folder / name).touch()
        os.truncate(folder / name, 2**41)
    with pytest.raises(
        UserError, match=r"is a pipe|is a device|is a folder|are expected"
    ):
        read(root, delivery=delivery)


@pytest.mark.parametrize("kind", ["pipe", "dangling"])
@pytest.mark.parametrize("delivery", ["resident", "streaming"])
def test_what_nobody_opens_is_no_harm(toy, kind, delivery):
    root, folder = toy
    if kind == "pipe":
        os.mkfifo(folder / "more")
    else:
        (folder / "more").symlink_to("nothing")
    assert len(read(root, delivery=delivery).train) == 4


@pytest.mark.parametrize("start", ["../", "/etc/", "a/../../", "{SPLIT}/"])
def test_records_that_lie_elsewhere(toy, start):
    """In folders within too: what is cached goes by the files of this one."""
    root, folder = toy
    template = f"{start}{{DATASET}}-{{SPLIT}}.{{FILEFORMAT}}-{{SHARD_X_OF_Y}}"
    edit(
        folder / "dataset_info.json",
        lambda d: d["splits"][0].update(filepathTemplate=template),
    )
    with pytest.raises(UserError, match="is no name of files"):
        read(root)


@pytest.mark.parametrize("where", ["set", "split"])
def test_a_name_with_a_folder(toy, where):
    root, folder = toy
    edit(
        folder / "dataset_info.json",
        lambda d: (d if where == "set" else d["splits"][0]).update(name="sub/x"),
    )
    with pytest.raises(UserError, match="records of other folders are not read"):
        read(root)


@pytest.mark.parametrize("template", ["{SPLIT:>999999999999}", "{SPLIT.upper}", "{}"])
def test_no_format_of_python_names_files(toy, template):
    root, folder = toy
    edit(
        folder / "dataset_info.json",
        lambda d: d["splits"][0].update(filepathTemplate=template),
    )
    with pytest.raises(UserError, match="is no name of files"):
        read(root)


def test_a_folder_whose_name_is_no_utf8(toy, tmp_path):
    root = toy[0].rename(tmp_path / os.fsdecode(b"b\xe4ume"))
    with pytest.raises(UserError, match=r"b\\xe4ume/.* is no UTF-8, .*: rename"):
        read(root)
    with pytest.raises(UserError, match=r"b\\xe4ume is no UTF-8"):
        prepare("mnist", str(root))


# -- numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [["-5"], ["4", "-1"], ["-5", "9"]])
def test_a_negative_number_of_records(toy, lengths):
    root, folder = toy
    edit(
        folder / "dataset_info.json",
        lambda d: d["splits"][0].update(shardLengths=lengths),
    )
    with pytest.raises(UserError, match=r"has -\d records: delete that folder"):
        read(root)


def test_as_many_records_in_other_files(original, toy):
    """The sum is right, and the last record of a file would be lost."""
    root, folder = toy
    (records,) = folder.glob("*.array_record*")
    for part in ("00000", "00001"):
        name = records.name.replace("00000-of-00001", f"{part}-of-00002")
        shutil.copy(records, folder / name)

    def said(*lengths):
        edit(
            folder / "dataset_info.json",
            lambda d: d["splits"][0].update(shardLengths=lengths),
        )

    said("4", "4")
    assert len(read(root).train) == 8
    said("3", "5")
    with pytest.raises(UserError, match=r"00000-of-00002 holds 4 records, .* says 3"):
        read(root)


@pytest.mark.parametrize("number", [-1, 10**12])
def test_a_number_of_classes_that_cannot_be(toy, number):
    root, folder = toy

    def change(described):
        label = described["featuresDict"]["features"]["label"]["classLabel"]
        label["numClasses"] = str(number)

    edit(folder / "features.json", change)
    with pytest.raises(UserError, match=f"{number:,} classes: 0 to"):
        read(root)


def places(tree, path=()):
    """The way to every value within lists and objects."""
    keys = tree if isinstance(tree, dict) else range(len(tree))
    for key in keys:
        yield (*path, key)
        if isinstance(tree[key], dict | list):
            yield from places(tree[key], (*path, key))


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_any_value_is_read_or_one_sentence(toy, name):
    root, folder = toy
    before = (folder / name).read_text()
    sentences = []
    for number, (*path, last) in enumerate(places(json.loads(before))):
        for value in VALUES[number % 2 :: 2]:
            described = inner = json.loads(before)
            for key in path:
                inner = inner[key]
            inner[last] = value
            (folder / name).write_text(json.dumps(described))
            try:
                read(root)
            except UserError as error:
                sentences.append(str(error))
    assert len(sentences) > 50
    assert not any("\n" in sentence for sentence in sentences)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b"null", b"[]"])
@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_what_is_no_description(toy, name, content):
    root, folder = toy
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read as a TFDS set"):
        read(root)


def test_names_of_classes_are_printable(toy):
    root, folder = toy
    (folder / "label.labels.txt").write_text("a\x1b[31m\nb\u202e\nc\n")
    assert read(root).class_names == ("a\\x1b[31m", "b\\u202e", "c")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\nb\nc\nd\n", "names 4 classes, but features.json says 3"),
        (b"a\nb\n", "names 2 classes, but features.json says 3"),
        (b"a\rb\nc\nd", "names 4 classes"),  # a line as TFDS reads lines
        (b"", "names 0 classes"),
        (b" \n\n", "names 0 classes"),
        (b"caf\xe9\nb\nc\n", "is no UTF-8"),
    ],
)
def test_names_are_as_many_as_classes(toy, content, words):
    root, folder = toy
    (folder / "label.labels.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"label.labels.txt {words}.*: correct that"):
        read(root)


def test_without_names_classes_are_numbered(toy):
    root, folder = toy
    (folder / "label.labels.txt").write_bytes(b"\r\na\r\n\r\nb\r\nc")
    assert read(root).class_names == ("a", "b", "c")
    (folder / "label.labels.txt").unlink()
    assert read(root).class_names == ("0", "1", "2")
