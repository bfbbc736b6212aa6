"""Preparing where something is in the way, breaks, or would ask other addresses."""

import os
import resource
import shutil
import socket

import pytest

from cnnjax.data import prepare
from cnnjax.errors import UserError
from tests.data.loading import load
from tests.data.prepare.test_prepare import CIFAR10


def kept(root):
    """Files of the archive that are still there."""
    return [path.name for path in root.glob("downloads/*/*") if path.is_file()]


# -- addresses -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cifar10", "svhn_cropped", "tfds:imagenet_v2"])
def test_an_empty_address_is_refused(name, tmp_path):
    """It stood for the official one."""
    with pytest.raises(UserError, match=r"--base_url='' (is no address|cannot be)"):
        prepare.prepare(name, str(tmp_path / "data"), base_url="")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["svhn_cropped", "tfds:imagenet_v2"])
def test_an_address_that_would_not_be_asked_is_refused(name, tmp_path, server):
    with pytest.raises(UserError, match="downloads from its own addresses: leave it"):
        prepare.prepare(name, str(tmp_path / "data"), base_url=server.url)
    assert not (tmp_path / "data").exists()


def test_no_other_address_is_asked(cifar10, tmp_path, monkeypatch):
    asked, look_up = set(), socket.getaddrinfo

    def noting(host, *args, **options):
        asked.add(host)
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", noting)
    prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert asked == {"127.0.0.1"}


# -- what is there already -------------------------------------------------------------


def test_an_empty_folder_of_the_version_is_no_set(cifar10, tmp_path):
    """It was downloaded, deleted and not written, again and again."""
    (tmp_path / "cifar10" / "3.0.2").mkdir(parents=True)
    prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert len(load("cifar10", tmp_path).train) == 200


@pytest.mark.parametrize("kind", ["files", "file", "link", "link to nothing"])
def test_what_is_in_the_way_is_said_before_the_download(
    cifar10,
    tmp_path,
    kind,
):
    folder = tmp_path / "cifar10" / "3.0.2"
    folder.parent.mkdir()
    if kind == "files":
        folder.mkdir()
        (folder / "notes").write_text("mine")
    elif kind == "file":
        folder.write_text("mine")
    else:
        folder.symlink_to(tmp_path / "nothing" if "nothing" in kind else "/etc")
    with pytest.raises(UserError, match=r"3\.0\.2 is in the way"):
        prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert cifar10.requests == []
    assert os.path.lexists(folder)


@pytest.mark.parametrize("kind", ["file", "link to file", "link to nothing"])
def test_what_is_there_in_place_of_the_set(cifar10, tmp_path, kind):
    folder, file = tmp_path / "cifar10", tmp_path / "file"
    file.touch()
    if kind == "file":
        folder.touch()
    else:
        folder.symlink_to(file if kind == "link to file" else "nothing")
    with pytest.raises(UserError, match=r"cifar10 is in the way, as it is no folder"):
        prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert cifar10.requests == []


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json", "records"])
def test_a_set_that_is_there_and_broken_is_not_ready(prepared, tmp_path, name):
    root = shutil.copytree(prepared[0], tmp_path / "data")
    folder = root / "cifar10" / "3.0.2"
    name = "cifar10-test.array_record-00000-of-00001" if name == "records" else name
    (folder / name).write_text("")
    with pytest.raises(UserError, match="prepare it again"):
        prepare.prepare("cifar10", str(root))
    assert (folder / name).exists()


@pytest.mark.parametrize("kind", ["link", "hard link", "link to nothing", "pipe"])
def test_the_lock_changes_no_other_file(cifar10, tmp_path, kind):
    target, lock = tmp_path / "precious", tmp_path / "data" / ".prepare-cifar10.lock"
    target.write_text("mine")
    lock.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(lock)
    elif kind == "hard link":
        os.link(target, lock)
    else:
        lock.symlink_to(target if kind == "link" else "nothing")
    with pytest.raises(UserError, match=r"\.lock|a process that its lock"):
        prepare.prepare("cifar10", str(tmp_path / "data"), base_url=cifar10.url)
    assert target.read_text() == "mine"
    assert os.listdir(lock.parent) == [lock.name]


def test_a_set_that_is_ready_may_lie_where_nobody_writes(prepared, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert prepare.prepare("cifar10", str(prepared[0])).name == "3.0.2"


def test_a_folder_that_may_not_be_written_is_said_first(cifar10, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(UserError, match=r"cannot write to .*Permission.*--data_dir"):
        prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert cifar10.requests == []


def test_leftovers_are_removed_and_links_are_not_followed(
    cifar10,
    tmp_path,
):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("")
    (tmp_path / "data" / "cifar10").mkdir(parents=True)
    (tmp_path / "data" / "cifar10" / "incomplete.X_3.0.2").symlink_to(mine)
    prepare.prepare("cifar10", str(tmp_path / "data"), base_url=cifar10.url)
    assert (mine / "file").exists()


# -- what breaks -----------------------------------------------------------------------


@pytest.mark.parametrize("written", ["nothing", "half"])
def test_downloads_are_kept_until_the_set_was_found_readable(
    cifar10,
    tmp_path,
    monkeypatch,
    written,
):
    write = prepare.write_images

    def badly(name, root, *rest):
        if written == "half":
            write(name, root, *rest)
            (records,) = root.glob("cifar10/*/cifar10-train*")
            os.truncate(records, 1000)

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "write_images", badly)
        with pytest.raises(UserError, match=r"is not there|prepare it again"):
            prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert kept(tmp_path) == [CIFAR10]


def test_other_files_beside_the_downloads_are_kept(cifar10, tmp_path):
    (tmp_path / "downloads" / "cifar10").mkdir(parents=True)
    (tmp_path / "downloads" / "cifar10" / "notes").write_text("mine")
    prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert kept(tmp_path) == ["notes"]


def test_a_disk_that_fills_while_records_are_written(
    cifar10,
    tmp_path,
    monkeypatch,
):
    """Seen as a limit of the size of files, which needs no file system."""
    write = prepare.write_images
    least, most = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(*args):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))
        try:
            write(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (least, most))

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "write_images", limited)
        with pytest.raises(UserError, match=r"cannot be written .*too large.*room"):
            prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert kept(tmp_path) == [CIFAR10]
    prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert len(cifar10.requests) == 1


def test_a_disk_that_fills_while_an_archive_is_written(
    cifar10,
    tmp_path,
):
    least, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))
    try:
        with pytest.raises(UserError, match=r"cannot write to .*File too large"):
            prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (least, most))
    prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert cifar10.requests[-1][1] == "bytes=100000-"


def test_what_tfds_raises_is_one_sentence(tmp_path, monkeypatch):
    """Of a set with parts, a name that it does not have."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    with pytest.raises(UserError, match="TFDS could not prepare mnist_corrupted/no"):
        prepare.prepare("mnist_corrupted/no", str(tmp_path))
