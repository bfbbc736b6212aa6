"""Preparing against a server on localhost: whole, broken, wrong, absent."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cnnjax.data import prepare
from cnnjax.errors import UserError
from cnnjax.process import identity
from tests.data.loading import load
from tests.data.small_archives import SMALL, known_as

CIFAR10 = "cifar-10-binary.tar.gz"


def as_set(images, labels):
    return {
        (image.tobytes(), int(label))
        for image, label in zip(images, labels, strict=True)
    }


@pytest.mark.parametrize("name", prepare.SETS)
def test_prepared_set_reads_back(name, tmp_path, monkeypatch, server):
    import tensorflow_datasets as tfds

    small = SMALL[name]()
    monkeypatch.setitem(prepare.SETS, name, known_as(name, small))
    server.files = small.files
    directory = prepare.prepare(name, str(tmp_path), base_url=server.url)
    version = {"cifar10": "3.0.2", "cifar100": "3.0.2"}.get(name, "3.0.1")
    assert directory == tmp_path / name / version
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]  # nothing left over

    dataset = load(name, tmp_path)
    assert dataset.note == ""
    for split in ("train", "test"):
        got = getattr(dataset, split)
        want = as_set(small.images[split], small.labels[split])
        assert as_set(got.images, got.labels) == want
        plain = tfds.data_source(name, split=split, data_dir=tmp_path, download=False)
        rows = list(plain)
        assert as_set([r["image"] for r in rows], [r["label"] for r in rows]) == want
    if name == "cifar10":
        assert dataset.class_names[3] == "kind3"
        row = plain[0]
        number = int(row["id"].decode().removeprefix("test_"))
        np.testing.assert_array_equal(row["image"], small.images["test"][number])
    if name == "cifar100":
        assert dataset.class_names[42] == "fine42"
        assert plain[0]["coarse_label"] == plain[0]["label"] % 10


def test_a_prepared_set_is_not_downloaded_again(prepared, server):
    root, _ = prepared
    assert prepare.prepare("cifar10", str(root), base_url=server.url).is_dir()
    assert server.requests == []


def test_cut_connection_goes_on_where_it_broke_off(cifar10, tmp_path):
    cifar10.cuts = [1000, 5000]
    prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert [r for _, r in cifar10.requests] == [None, "bytes=1000-", "bytes=6000-"]


def test_broken_download_is_resumed_by_the_next_call(cifar10, tmp_path):
    cifar10.cuts = [100, 100, 100]
    with pytest.raises(UserError, match=r"broke off 3 times, 300 of .* resumes"):
        prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    with pytest.raises(UserError, match="cifar10 is not there"):
        load("cifar10", tmp_path)
    prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert cifar10.requests[-1] == (CIFAR10, "bytes=300-")
    assert len(load("cifar10", tmp_path).train) == 200


def test_server_without_ranges_starts_over(cifar10, tmp_path):
    cifar10.ranges, cifar10.cuts = False, [1000]
    prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert len(load("cifar10", tmp_path).test) == 30


def test_complete_part_is_verified_and_used(cifar10, tmp_path):
    part = tmp_path / "downloads" / "cifar10" / f"{CIFAR10}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(cifar10.files[CIFAR10])
    prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert len(load("cifar10", tmp_path).train) == 200


@pytest.mark.parametrize("resumed", [False, True])
def test_wrong_checksum_removes_the_file(resumed, cifar10, tmp_path):
    good = cifar10.files[CIFAR10]
    cifar10.files = {CIFAR10: good[:-1] + bytes([good[-1] ^ 1])}
    if resumed:
        cifar10.cuts = [500]
    with pytest.raises(UserError, match=r"wrong checksum .* removed"):
        prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    cifar10.files = {CIFAR10: good}
    prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)


def test_killed_writing_never_looks_complete(cifar10, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def dies(*args):
        raise Killed

    monkeypatch.setattr("cnnjax.data.prepare.cifar.encode_png", dies)
    with pytest.raises(Killed):
        prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    with pytest.raises(UserError, match="cifar10 is not there"):
        load("cifar10", tmp_path)
    # What kill -9 leaves is cleared away by the next preparation.
    stale = tmp_path / "cifar10" / "incomplete.ABCDEF_3.0.2"
    stale.mkdir(parents=True)
    monkeypatch.undo()
    small = SMALL["cifar10"]()
    monkeypatch.setitem(prepare.SETS, "cifar10", known_as("cifar10", small))
    prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert len(cifar10.requests) == 1  # the archive was there, verified
    assert not stale.exists()


def test_missing_on_server(cifar10, tmp_path):
    cifar10.files = {}
    with pytest.raises(UserError, match=r"answered 404 .* mirror with --base_url"):
        prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)


def test_no_network(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match=r"cannot reach .* needs a network"):
        prepare.prepare("mnist", str(tmp_path), base_url=f"http://127.0.0.1:{port}")


def test_archive_of_another_layout(cifar10, tmp_path, monkeypatch):
    small = SMALL["cifar100"]()
    small.files = {CIFAR10: small.files["cifar-100-binary.tar.gz"]}
    monkeypatch.setitem(prepare.SETS, "cifar10", known_as("cifar10", small))
    cifar10.files = small.files
    with pytest.raises(UserError, match=r"lacks .*data_batch_1.bin"):
        prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)


def test_no_space(cifar10, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "SPACE_FACTOR", 10**12)
    with pytest.raises(UserError, match="MB free, preparing takes"):
        prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*file"):
        prepare.prepare("cifar10", str(tmp_path / "file" / "data"))


def test_second_process_is_refused(cifar10, tmp_path):
    other = identity() | {"host": "elsewhere"}
    (tmp_path / ".prepare-cifar10.lock").write_text(json.dumps(other))
    with pytest.raises(UserError, match=r"cifar10 is being prepared .* on elsewhere"):
        prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert cifar10.requests == []


def test_what_another_process_has_prepared_is_not_downloaded(
    cifar10, tmp_path, monkeypatch
):
    """Between the first look and the lock."""
    locked = prepare.locked

    def after_another(*args, **options):
        monkeypatch.setattr(prepare, "locked", locked)
        prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
        return locked(*args, **options)

    monkeypatch.setattr(prepare, "locked", after_another)
    prepare.prepare("cifar10", str(tmp_path), base_url=cifar10.url)
    assert len(cifar10.requests) == 1


def test_other_sets_need_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"stl10 needs TensorFlow, .*extra"):
        prepare.prepare("stl10", str(tmp_path))


def test_unknown_name(tmp_path):
    with pytest.raises(UserError, match=r"no set 'cifar11' .*cifar10"):
        prepare.prepare("cifar11", str(tmp_path))


def test_program(prepared):
    root, _ = prepared
    command = [sys.executable, "-m", "experiments.prepare", f"--data_dir={root}"]
    home = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, cwd=home)
    assert done.returncode == 0, done.stderr
    assert "cifar10 is ready in" in done.stdout


def test_official_archives_are_described():
    for image_set in prepare.SETS.values():
        for archive in image_set.archives:
            assert len(archive.sha256) == 64
            assert int(archive.sha256, 16)
            assert archive.num_bytes > 0
