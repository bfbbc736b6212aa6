"""Weight files that claim to hold more than they do."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.interop.files.read import opened
from tests.interop.files.hostile import (
    archive,
    number,
    old,
    pickled,
    refused,
    tensor,
    text,
)
from tests.interop.small_weights import one_sentence

MEGABYTE = 2**20


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pth"


def everything(state_dict, **changes):
    """The pickle of a state dict whose values are one number each, expanded."""
    entries = []
    for name, value in state_dict.items():
        kind = b"FloatStorage" if value.dtype == np.float32 else b"LongStorage"
        made = tensor("0", value.shape, (0,) * value.ndim, kind=kind)
        entries.append((name, changes.get(name, made)))
    return pickled(*entries)


def test_shapes_are_compared_first(path):
    huge = tensor("0", (2**20, 600), (0, 0))
    content = archive(pickled(("conv1.weight", huge)), _0=bytes(4))
    refused(path, "96 missing", "(1048576, 600), not", content=content)
    one_value = (1).to_bytes(8, "little") + bytes(4)
    content = old(pickled(("conv1.weight", huge)), ["0"], one_value)
    refused(path, "another shape", content=content)


def test_an_expanded_tensor(path, state_dict):
    content = archive(everything(state_dict), _0=bytes(8))
    refused(path, "contains an expanded tensor, of shape (", content=content)


@pytest.mark.parametrize(
    ("shape", "stride", "first"),
    [((4,), (2,), 0), ((2, 2), (1, 2**62), 0), ((4,), (1,), 1), ((4,), (1,), 2**62)],
)
def test_a_tensor_beyond_its_storage(path, shape, stride, first):
    content = pickled(("a", tensor("0", shape, stride, 4, first)))
    path.write_bytes(archive(content, _0=bytes(16)))
    with opened(path) as saved, pytest.raises(UserError, match="larger than what is"):
        saved["a"].read()


@pytest.mark.parametrize("shape", [(-1,), (2**63,), (True,)])
def test_odd_shapes(path, shape):
    made = tensor("0", (3,), (1,), 3)
    odd = b"\x88" if shape == (True,) else number(shape[0])
    content = pickled(("a", made.replace(b"(K\x03t(K\x01t", b"(" + odd + b"t(K\x01t")))
    refused(path, "a tensor with a negative or odd shape", content=archive(content))


def test_more_axes_than_an_array_can_have(path):
    content = pickled(("a", tensor("0", (1,) * 1000, (1,) * 1000)))
    refused(path, "negative or odd shape", content=archive(content, _0=bytes(4)))
    header = entry_of((1,) * 1000, (0, 4))
    content = struct.pack("<Q", len(header)) + header + bytes(4)
    refused(path, "negative or odd shape", content=content)


@pytest.mark.parametrize(
    "kind", ["O", "torch.O", "V8,O", "torch.finfo", "finfo", "S4", "U4", "datetime64"]
)
def test_bytes_become_numbers_only(path, kind):
    """Never addresses of Python objects, whatever type a file names."""
    made = tensor("0", (1,), (1,), kind=b"UntypedStorage")
    made = made.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v3")
    made = made.replace(b"torch\nUntyped", b"torch.storage\nUntyped")
    made = made[: -len(b"tR")] + text(kind) + b"tR"
    content = archive(pickled(("a", made)), _0=bytes(8))
    refused(path, "which NumPy cannot represent", content=content)


def test_a_deflated_archive(path):
    """1 MB that unpacks to 100 MB."""
    content = pickled(("a", tensor("0", (3,), (1,), 3)))
    made = archive(content, zipfile.ZIP_DEFLATED, _0=bytes(100 * MEGABYTE))
    assert len(made) < MEGABYTE
    refused(path, "was compressed", "would fill 104,8", "torch.save", content=made)


def test_a_deflated_npz_file(path):
    content = io.BytesIO()
    np.savez_compressed(content, **{"conv1.weight": np.zeros((5000, 5000), "f4")})
    refused(path, "(5000, 5000), not (16, 3, 3, 3)", content=content.getvalue())


def test_one_part_of_a_file_in_many_names(path):
    """Entries that all point to the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        made.writestr("net/data.pkl", b"\x80\x02}.")
        made.writestr("net/data/0", bytes(MEGABYTE))
        shared = made.getinfo("net/data/0")
        for key in range(1, 50):
            made.filelist.append(again := zipfile.ZipInfo(f"net/data/{key}"))
            for part in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(again, part, getattr(shared, part))
        made._didModify = True
    refused(path, "would fill 52,4", content=content.getvalue())


def test_a_zip_of_many_entries(path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        for key in range(3000):
            made.writestr(f"{key}", b"")
    refused(path, "a zip archive of 0, 1, 2", content=content.getvalue())


def test_a_table_of_contents_beyond_any_net(path, monkeypatch):
    monkeypatch.setattr("cnnjax.interop.files.archive.MOST_CONTENTS", 1000)
    made = archive(b"\x80\x02}.", **{f"_{key}": b"1" for key in range(100)})
    refused(path, "its table of contents is too long", content=made)


@pytest.mark.parametrize("claim", [0, 2, 2**32, 2**62, 2**64 - 1])
@pytest.mark.parametrize("field", [0, 1, 2])
def test_lies_in_the_zip64_record(path, field, claim):
    """Of the size in memory, the size on disk and the place of an entry."""
    made = bytearray(archive(pickled(("a", tensor("0", (1,), (1,)))), _0=bytes(4)))
    at = made.rfind(b"PK\1\2")
    extra = bytearray(struct.pack("<HHQQQ", 1, 24, 4, 4, 0))
    struct.pack_into("<Q", extra, 4 + 8 * field, claim)
    name = struct.unpack_from("<H", made, at + 28)[0]
    struct.pack_into("<II", made, at + 20, 2**32 - 1, 2**32 - 1)
    struct.pack_into("<H", made, at + 30, len(extra))
    struct.pack_into("<I", made, at + 42, 2**32 - 1)
    made[at + 46 + name : at + 46 + name] = extra
    end = made.rfind(b"PK\5\6")
    size = struct.unpack_from("<I", made, end + 12)[0]
    struct.pack_into("<I", made, end + 12, size + len(extra))
    path.write_bytes(made)
    with pytest.raises(UserError) as caught, opened(path) as saved:
        saved["a"].read()
    one_sentence(caught, ["weight file"])


def entry_of(shape, offsets, name="conv1.weight"):
    entry = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
    return json.dumps({name: entry}).encode()


TWICE = (
    b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},'
    b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
)
OVERLAP = TWICE.replace(b'"a"', b'"b"', 1).replace(b"[4,8]", b"[2,6]")


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (b"{", 2**60),
        (b"{", 2**25),
        (b"{" + b'"a":{' * 100_000, None),
        (entry_of((-3,), (0, 4)), None),
        (entry_of((2**62, 2**62), (0, 4)), None),
        (entry_of((1,), (0, 2**60)), None),
        (entry_of((1,), (2**60, 0)), None),
        (entry_of((9,), (0, 8)), None),
        (TWICE, None),
        (OVERLAP, None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_headers_of_safetensors(path, header, length):
    content = struct.pack("<Q", length or len(header)) + header + bytes(8)
    refused(path, "is not a complete .safetensors file", content=content)


@pytest.mark.parametrize(
    "described",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 3000 + ", }",
        "{'descr': '<f4', 'shape': (1,), }",
        "__import__('os').system('true')",
    ],
)
def test_headers_of_arrays(path, described):
    data = described.encode() + b"\n"
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(data)) + data + bytes(4)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as npz:
        npz.writestr("conv1.weight.npy", content)
    refused(path, "is not an .npz file of plain arrays", content=made.getvalue())


def test_an_array_of_another_length_than_it_says(path, state_dict):
    content = io.BytesIO()
    np.savez(content, **{k: v for k, v in state_dict.items() if k != "linear.bias"})
    part = io.BytesIO()
    np.save(part, state_dict["linear.bias"])
    with zipfile.ZipFile(content, "a") as npz:
        npz.writestr("linear.bias.npy", part.getvalue()[:-4])
    refused(path, "has another length than it says", content=content.getvalue())
