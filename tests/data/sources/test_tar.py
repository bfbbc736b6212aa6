"""Archives of strangers: nothing is extracted, and whatever is wrong is a sentence."""

import io
import os
import tarfile

import numpy as np
import pytest

from cnnjax.data.sources.archives import tar as tar_module
from cnnjax.data.sources.archives.tar import members
from cnnjax.errors import UserError
from tests.data import loading
from tests.data.sources import small_imagenet as small

FILES = [("a/one.jpg", b"first"), ("b" * 200 + ".jpg", b""), ("c.txt", b"x" * 2000)]
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def write(root, content):
    (root / "a.tar").write_bytes(content)
    return str(root)


def names_of(held):
    return [os.path.basename(path) for path in held.paths]


@pytest.mark.parametrize("kind", FORMATS[1:])
def test_members_where_they_lie(tmp_path, kind):
    held = members(write(tmp_path, small.tar(FILES, kind)), ["a.tar"])
    assert list(held.paths) == [f"a.tar/{name}" for name, _ in FILES]
    assert [held.content(i) for i in range(3)] == [content for _, content in FILES]
    assert held.name(0) == f"{tmp_path}/a.tar/a/one.jpg"


def test_archives_within(tmp_path):
    inner = small.tar([("x.jpg", b"of the inner one")])
    files = [("deep.tar", inner), ("y.jpg", b"beside"), ("two.tar", small.tar(FILES))]
    root = write(tmp_path, small.tar(files))
    held = members(root, ["a.tar"], within=True)
    assert names_of(held)[:2] == ["y.jpg", "x.jpg"]
    assert held.content(1) == b"of the inner one"
    assert held.name(1) == f"{root}/a.tar/deep.tar/x.jpg"
    flat = members(root, ["a.tar"])
    assert names_of(flat) == ["deep.tar", "y.jpg", "two.tar"]
    assert flat.content(0) == inner


def special(name, kind, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def test_links_and_devices_are_counted_and_names_are_no_paths(tmp_path):
    content = io.BytesIO()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, kind, target in (
            ("link.jpg", tarfile.SYMTYPE, "../secret.jpg"),
            ("hard.jpg", tarfile.LNKTYPE, "secret.jpg"),
            ("zero.jpg", tarfile.CHRTYPE, ""),
            ("pipe.jpg", tarfile.FIFOTYPE, ""),
            ("folder", tarfile.DIRTYPE, ""),
        ):
            archive.addfile(special(name, kind, target))
        for name in ("../../outside.jpg", "/secret.jpg", ".hidden", "li\nne.jpg"):
            entry = tarfile.TarInfo(name)
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"mine"))
    (tmp_path / "set").mkdir()
    held = members(write(tmp_path / "set", content.getvalue()), ["a.tar"])
    assert {e.reason: e.count for e in held.ignored} == {
        "no plain file in an archive": 4,
        "hidden": 1,
        "name that is not printable": 1,
    }
    assert [held.content(i) for i in range(len(held.paths))] == [b"mine"] * 2
    assert sorted(os.listdir(tmp_path)) == ["secret.jpg", "set"]
    assert os.listdir(tmp_path / "set") == ["a.tar"]


WHOLE = small.tar(FILES)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive at all" * 100,
        WHOLE[:700],
        WHOLE[:-10240],
        WHOLE[: 512 * 3],
        WHOLE[:1024] + b"\x01" * 512 + WHOLE[1536:],
        small.tar([("inner.tar", WHOLE[:700])]),
        # Room that a download was given and did not fill, or an archive behind another.
        WHOLE[: 512 * 5] + bytes(2 * len(WHOLE)),
        WHOLE + bytes(10240),
        WHOLE[:-1] + b"x",
        WHOLE + WHOLE,
        bytes(10240),
        small.tar([]),
        small.tar([("inner.tar", WHOLE[: 512 * 5] + bytes(2 * len(WHOLE)))]),
        small.tar([("inner.tar", WHOLE + WHOLE)]),
    ],
)
def test_damaged_archives(tmp_path, content):
    root = write(tmp_path, content)
    with pytest.raises(UserError, match="no tar archive, cut short or damaged"):
        members(root, ["a.tar"], within=True)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [0, 8191, 8192, 8193, 9000, 18432])
def test_the_end_of_whole_archives(tmp_path, size, kind):
    """As Python pads them, and as two blocks of zeros alone or one end them."""
    content = small.tar([("x.jpg", b"x" * size)], kind)
    last = 512 * (1 + -(-size // 512))
    for end in (content, content[: last + 1024], content[: last + 512]):
        held = members(write(tmp_path, end), ["a.tar"])
        assert held.sizes.tolist() == [size]


def test_a_member_larger_than_any_image(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_module, "MOST_MEMBER", 1000)
    held = members(write(tmp_path, WHOLE), ["a.tar"])
    assert [(e.reason, e.count) for e in held.ignored] == [
        ("file of more than 1,000 bytes", 1)
    ]


def test_a_header_that_claims_much(tmp_path):
    """Of the kind that carries a long name, which is read whole."""
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2**30
    with open(tmp_path / "a.tar", "wb") as file:
        file.write(entry.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**31)
    with pytest.raises(UserError, match="a header of"):
        members(str(tmp_path), ["a.tar"])


def test_a_name_that_comes_twice(tmp_path):
    root = write(tmp_path, small.tar([FILES[0], FILES[0]]))
    with pytest.raises(UserError, match=r"more than one file named a.one"):
        members(root, ["a.tar"])


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a device"])
def test_what_is_no_file(tmp_path, kind):
    path = tmp_path / "a.tar"
    {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "link to a device": lambda: path.symlink_to("/dev/zero"),
    }[kind]()
    with pytest.raises(UserError, match=r"a.tar is a (pipe|folder|device), not a file"):
        members(str(tmp_path), ["a.tar"])


def test_a_listing_is_kept_until_the_archive_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    root = write(tmp_path, WHOLE)
    first = members(root, ["a.tar"])
    monkeypatch.setattr(tar_module, "_listed", None)
    again = members(root, ["a.tar"])
    assert again.paths == first.paths
    np.testing.assert_array_equal(again.offsets, first.offsets)
    assert again.content(0) == b"first"
    monkeypatch.undo()
    write(tmp_path, small.tar(FILES[:1]))
    assert len(members(root, ["a.tar"]).paths) == 1
    os.truncate(tmp_path / "a.tar", 100)
    with pytest.raises(UserError, match="cut short"):
        first.content(2)


# -- shards ----------------------------------------------------------------------------


def shard(root, files, name="000.tar"):
    return small.put(root, {name: small.tar(files)})


IMAGE = small.jpeg(10)


def load(root):
    return loading.load("webdataset", root, num_test=-1, channels=3)


def test_what_is_no_example_is_counted(tmp_path):
    files = [
        ("a.jpg", IMAGE),
        ("a.cls", b"1\n"),
        ("a.json", b"{}"),
        ("b.jpg", IMAGE),
        ("c.cls", b"0"),
        ("d.x/e.JPG", IMAGE),
        ("d.x/e.cls", b"0"),
    ]
    dataset = load(shard(tmp_path, files))
    assert dataset.train.labels.tolist() == [1, 0]
    assert dataset.class_names == ("0", "1")
    assert {e.reason: e.count for e in dataset.contents.ignored} == {
        "file .cls without an image": 1,
        "file .json of an example": 1,
        "image without a file .cls": 1,
    }


@pytest.mark.parametrize("label", [b"dog", b"", b"-1", b"1" * 30, b"99999999"])
def test_a_label_that_is_none(tmp_path, label):
    shard(tmp_path, [("a.jpg", IMAGE), ("a.cls", label)])
    with pytest.raises(UserError, match=r"a\.cls has no number of a class"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["b.tar", "x-val-1.tar", "train/b.tar"])
@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("link that leads nowhere", "tar cannot be read: No such file"),
        ("pipe", "tar is a pipe, not a file"),
        ("folder", "tar is a folder, not a file"),
        ("link to a device", "tar is a device, not a file"),
    ],
)
def test_no_shard_is_left_out_without_a_word(tmp_path, kind, sentence, name):
    shard(tmp_path, [("a.jpg", IMAGE), ("a.cls", b"0")])
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    {
        "link that leads nowhere": lambda: path.symlink_to(tmp_path / "gone"),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "link to a device": lambda: path.symlink_to("/dev/zero"),
    }[kind]()
    with pytest.raises(UserError, match=sentence):
        load(tmp_path)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "has no shard .* of training images"),
        ({"0.tar.gz": b"x"}, "1 compressed ones: gunzip"),
        ({"train-val.tar": b""}, "more than one split"),
        ({"val.tar": b""}, "no shard .* of training images"),
        ({"a.tar": small.tar([("a.jpg", IMAGE)])}, "without an example"),
        (
            {"a.tar": small.tar([("a.jpg", IMAGE), ("a.png", IMAGE), ("a.cls", b"1")])},
            None,
        ),
        (
            {
                "a.tar": small.tar([("a.jpg", IMAGE), ("a.cls", b"2")]),
                "classes.txt": b"one\ntwo\n",
            },
            "one line for each",
        ),
    ],
)
def test_shards_that_are_refused(tmp_path, files, sentence):
    small.put(tmp_path, files)
    with pytest.raises(UserError, match=sentence or r"a\.png is the second"):
        load(tmp_path)
