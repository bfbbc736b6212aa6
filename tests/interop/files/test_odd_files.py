"""Weight files that are no files, cannot be read, are damaged, or have odd names."""

import errno
import io
import json
import os
import socket
import struct
import zipfile

import numpy as np
import pytest

from cnnjax import interop
from cnnjax.errors import UserError
from cnnjax.interop.files.read import opened
from cnnjax.interop.files.unread import Unread
from tests.interop.files.hostile import (
    archive,
    number,
    old,
    pickled,
    refused,
    tensor,
    text,
)
from tests.interop.small_weights import NAME, SOURCE, same
from tests.slow import slow


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pth"


def test_a_pipe_a_device_a_socket(path):
    os.mkfifo(path)
    refused(path, "is a pipe, not a file")
    refused("/dev/zero", "is a device, not a file")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path.with_suffix(".s")))
        refused(path.with_suffix(".s"), "is a socket, not a file")


def test_links(path, tmp_path, state_dict, variables):
    path.symlink_to("nowhere")
    refused(path, "there is no file")
    path.unlink()
    path.symlink_to(path)
    refused(path, "cannot be read: Too many levels of symbolic links")
    path.unlink()
    np.savez(tmp_path / "whole.npz", **state_dict)
    path.symlink_to("whole.npz")
    same(interop.load(NAME, path, source=SOURCE), variables)


@pytest.mark.parametrize("start", [b"", b"{", b"(", b"PK\3\4", b"\x80\x02"])
def test_a_sparse_file(path, start):
    """Of a TB, and of more than any file of weights has."""
    path.write_bytes(start + bytes(100))
    os.truncate(path, 2**40 - 1)
    refused(path, "weight file")
    os.truncate(path, 2**40 + 1)
    refused(path, "has 1,099,511,627,777 bytes, and at most 1,099,511,627,776")


def test_a_sparse_safetensors_file(path):
    entry = {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}
    header = json.dumps({"conv1.weight": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(path, 2**40 - 1)
    refused(path, "is not a complete .safetensors file")
    entry = {"dtype": "F32", "shape": [2**37], "data_offsets": [0, 2**39]}
    header = json.dumps({"conv1.weight": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(path, 8 + len(header) + 2**39)
    refused(path, "do not fit 'resnet20_cifar'", "(137438953472,)")


def test_names_of_files(tmp_path, state_dict, variables):
    odd = tmp_path / os.fsdecode(b"n\xff\x1b[2Jet.npz")
    refused(odd, "there is no file", r"n\xff\x1b[2Jet.npz")
    with odd.open("wb") as file:
        np.savez(file, **state_dict)
    same(interop.load(NAME, odd, source=SOURCE), variables)
    refused(odd, "is empty", content=b"")
    refused(tmp_path / ("x" * 300), "cannot be read: File name too long")
    refused(str(tmp_path) + "/a\0b", "no file has such a name")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EPERM])
def test_what_cannot_be_opened_now(path, monkeypatch, number):
    def fails(path, most):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("cnnjax.interop.files.read.open_regular", fails)
    path.write_bytes(bytes(100))
    text = refused(path, f"cannot be read: {os.strerror(number)}")
    assert "download" not in text


def test_a_failing_disk_is_not_called_damage(path, state_dict, monkeypatch):
    with path.open("wb") as file:
        np.savez(file, **state_dict)
    read = zipfile.ZipExtFile.read

    def failing(self, *arguments):
        if "linear" in self.name:
            raise OSError(errno.EIO, "Input/output error")
        return read(self, *arguments)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", failing)
    text = refused(path, "cannot be read: Input/output error")
    assert "download" not in text


EVIL = "a\x1b[2J\n\u202e\ud800"


def test_names_of_tensors_are_escaped(path, state_dict, caplog):
    content = pickled((EVIL, tensor("0", (1,), (1,))))
    refused(path, r"1 unexpected: a\x1b[2J\n", content=archive(content, _0=bytes(4)))
    content = pickled((EVIL, b"}(" + text(EVIL) + tensor("0", (1,), (1,)) + b"u"))
    refused(path, r"a\x1b[2J\n", content=archive(content, _0=bytes(4)))
    with path.open("wb") as file:
        np.savez(
            file, **{f"net.{k}": v for k, v in state_dict.items()}, **{EVIL[:-1]: 1}
        )
    interop.load(NAME, path, source=SOURCE)
    assert r"a\x1b[2J\n" in caplog.text
    assert "\x1b" not in caplog.text


def test_names_of_entries_and_classes_are_escaped(path):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as zipped:
        zipped.writestr("a\x1b[2J\n", "")
    refused(path, r"a\x1b[2J\n", content=made.getvalue())
    content = b"\x80\x02X\4\0\0\0o\x1bs\nX\4\0\0\0x\x1b[2\x93."
    refused(path, r"(o\x1bs\n.x\x1b[2)", content=archive(content))


def test_very_long_names(path):
    """Prefixes of a name are looked for at every dot."""
    long = "." * 2**20
    content = pickled((long, tensor("0", (1,), (1,))))
    refused(path, "weight file", content=archive(content, _0=bytes(4)))


def test_names_that_are_no_texts(path):
    value = tensor("0", (1,), (1,))
    content = b"\x80\x02}(" + number(1) + value + text("b") + value + b"u."
    refused(
        path, "97 missing", "1 unexpected: b", content=archive(content, _0=bytes(4))
    )


@pytest.mark.parametrize("name", ["net/data.pkl", "net/data/0"])
def test_an_entry_that_is_there_twice(path, name):
    made = archive(pickled(("a", tensor("0", (1,), (1,)))), _0=bytes(4))
    path.write_bytes(made)
    with zipfile.ZipFile(path, "a") as zipped, pytest.warns(match="Duplicate"):
        zipped.writestr(name, b"1234")
    refused(path, f"{name} is in it twice")


def test_two_names_that_become_one(state_dict):
    twice = {"denselayer1.norm.1.weight": np.ones(2), "a\n": np.ones(1)}
    both = twice | {r"a\n": np.zeros(1)}
    with pytest.raises(UserError, match="two names of one tensor"):
        interop.from_torch(NAME, both, source=SOURCE)


def flipped(content, rng):
    """The content with one bit flipped at a random place."""
    damaged = bytearray(content)
    damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
    return bytes(damaged)


@pytest.mark.parametrize("kind", ["pth", "npz", "compressed npz"])
def test_a_flipped_bit_is_found_or_changes_nothing(path, kind):
    """48 of 50 loaded silently before checksums were compared."""
    rng = np.random.default_rng(0)
    arrays = {f"layer{i}.weight": rng.normal(size=(32, 32)) for i in range(3)}
    with path.open("wb") as file:
        if kind == "pth":
            torch = pytest.importorskip("torch", reason="extra `peers`")
            torch.save({k: torch.tensor(v) for k, v in arrays.items()}, file)
        else:
            (np.savez if kind == "npz" else np.savez_compressed)(file, **arrays)
    whole, found = path.read_bytes(), 0
    for _ in range(50):
        path.write_bytes(flipped(whole, rng))
        try:
            with opened(path) as saved:
                assert saved.keys() == arrays.keys()
                for name, value in saved.items():
                    np.testing.assert_array_equal(value.read(), arrays[name])
        except UserError:
            found += 1
    assert found > 35  # the other bits are in what fills the file up


TWO = pickled(*((f"{key}.weight", tensor(key, (2,), (1,), 2)) for key in "ab"))
STORED = 2 * (struct.pack("<q", 2) + bytes(8))


@pytest.mark.parametrize("keys", ["", "a", "ax", ["a", ["b"]], [("a", "b")], "aba"])
def test_the_list_of_storages_of_an_old_file(path, keys):
    """Empty, short, of another name: found before a tensor is read."""
    refused(path, "is not a complete torch file", content=old(TWO, keys, STORED))


@pytest.mark.parametrize("step", [37, slow(1)])
def test_flipped_bits_of_the_pickles_of_an_old_file_are_sentences(path, step):
    """Of every place, or of some."""
    whole = old(TWO, "ab", STORED)
    path.write_bytes(whole)
    assert values_of(path) == [[0, 0], [0, 0]]
    for bit in range(0, 8 * (len(whole) - len(STORED)), step):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            values_of(path)
        except UserError:
            pass
        except Exception as error:
            raise AssertionError(f"byte {bit // 8}, bit {bit % 8}") from error


def values_of(path):
    with opened(path) as saved:
        held = saved.values() if isinstance(saved, dict) else []
        return [value.read().tolist() for value in held if isinstance(value, Unread)]
