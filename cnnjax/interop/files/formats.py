"""Recognises the format of a weight file by its content; the name does not count."""

import io
import itertools
import json
import pathlib
import pickletools
from typing import BinaryIO

from cnnjax.errors import UserError, printable
from cnnjax.interop.files.archive import AGAIN, Archive

SAFETENSORS, ARRAYS = "safetensors", "npz"
TORCH, TORCH_ARCHIVE = "torch before 1.6", "torch"
ALLOWED = "allowed are .safetensors, files of torch.save and .npz"
# How many bytes of a file are inspected.
HEAD = 512
# Bytes of an index in JSON; bytes and operations after which something is a pickle.
MOST_INDEX = 16 * 2**20
MOST_BEGINNING, MANY = 2**20, 1000

# First bytes of files that cannot be read, what they are, what to do about it.
_STARTS = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer",
        "fetch the file by `git lfs pull`",
    ),
    (b"\x1f\x8b", "compressed with gzip", "unpack it first"),
    (b"BZh", "compressed with bzip2", "unpack it first"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"\x89HDF", "an HDF5 file, as Keras writes them", ALLOWED),
    (b"\x93NUMPY", "a single NumPy array", "save all by numpy.savez(path, **weights)"),
    (b"GGUF", "a GGUF file", ALLOWED),
    (
        b"model_checkpoint_path",
        "the table of contents of TensorFlow checkpoints",
        ALLOWED,
    ),
    (b"\x08\x01\x12", "a SavedModel of TensorFlow", ALLOWED),
    (b"%PDF", "a PDF", AGAIN),
)
PICKLE = (
    "a plain pickle not written by torch.save, and unpickling could run code",
    "save `model.state_dict()` by torch.save",
)
# In the head of files in torch's old format, which is not an archive.
TORCH_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19"
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")
# The end of a table of LevelDB, of which the index of a TensorFlow checkpoint is one.
_LEVELDB = bytes.fromhex("57fb808b247547db")


def kind_of(path: pathlib.Path, file: BinaryIO) -> tuple[str, Archive | None]:
    """The format of a file, one of the four above, and its archive if it is one.

    Args:
      path: for messages.
      file: open for reading at its start, to which it is set back.

    Raises:
      UserError: it has another format, which is named.
    """
    head = file.read(HEAD)
    file.seek(0)
    if not head:
        raise UserError(f"weight file {printable(path)} is empty: {AGAIN}")
    if len(head) < 16:
        raise UserError(
            f"weight file {printable(path)} is not a complete file ({len(head)} "
            f"bytes): {AGAIN}"
        )
    if head.startswith(b"PK"):
        archive = Archive(path, file)
        return _kind_of_zip(path, archive), archive
    if head[8:9] == b"{":
        return SAFETENSORS, None
    if head.startswith(b"\x80"):
        if head[1] > 2 and TORCH_MAGIC not in head[:32]:
            raise _refused(path, *PICKLE)
        return TORCH, None
    if head[257:262] == b"ustar":
        raise _refused(path, "a tar archive", f"unpack it; {ALLOWED}")
    raise _refused(path, *_another(file, head))


def within(folder: pathlib.Path) -> str:
    """Names the weight files in a folder, one of which may have been meant."""
    endings = (".safetensors", ".pth", ".pt", ".th", ".bin", ".ckpt", ".npz")
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in endings)
    return f": it contains {' or '.join(map(printable, names[:3]))}" if names else ""


def _refused(path: pathlib.Path, what: str, advice: str) -> UserError:
    return UserError(f"weight file {printable(path)} is {what}: {advice}")


def _kind_of_zip(path: pathlib.Path, archive: Archive) -> str:
    names = list(archive.entries)
    if names and all(name.endswith(".npy") for name in names):
        return ARRAYS
    within = [name.split("/", 1)[-1] for name in names]
    if any(name.startswith("code/") for name in within) or "constants.pkl" in within:
        raise _refused(
            path,
            "a TorchScript archive, which is a program",
            "save its weights by torch.save(torch.jit.load(path).state_dict(), new)",
        )
    if "data.pkl" in within:
        return TORCH_ARCHIVE
    if "model.weights.h5" in within:
        raise _refused(path, "a model of Keras", ALLOWED)
    if "archive_format" in within or any("/.data/" in name for name in names):
        raise _refused(path, "a program of torch.export or torch.package", ALLOWED)
    shown = ", ".join(printable(name)[:80] for name in names[:3]) or "nothing"
    raise _refused(path, f"a zip archive of {shown}", f"unpack it; {ALLOWED}")


def _another(file: BinaryIO, head: bytes) -> tuple[str, str]:
    """What a file in an unreadable format is, and what to do about it."""
    for start, what, advice in _STARTS:
        if head.startswith(start):
            return what, advice
    if head[:1] in b"(}]c" and _is_pickle(file):
        return PICKLE
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.lower().startswith(_PAGES):
        return "a web page, not the linked file", "download the file itself"
    if text[:1] in (b"{", b"["):
        return _json(file)
    if _is_msgpack(head):
        return "a msgpack file, as Flax writes them", ALLOWED
    if (
        head[:1] == b"\x08"
        and head[1] < 32
        and head[2:3] in (b"\x12", b"\x1a", b"\x3a")
    ):
        return "a program of ONNX", ALLOWED
    if head[4:8] == b"TFL3":
        return "a program of TensorFlow Lite", ALLOWED
    if b"torch." in head[:64] and head[1:4] == b"\0\0\0":
        return "a file of Torch7 (Lua)", ALLOWED
    if _tail(file) == _LEVELDB:
        return "a TensorFlow checkpoint", ALLOWED
    return f"in an unknown format (it begins with {head[:12]!r})", ALLOWED


def _json(file: BinaryIO) -> tuple[str, str]:
    file.seek(0)
    try:
        shards = set(json.loads(file.read(MOST_INDEX))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "a JSON file without weights", ALLOWED
    return (
        f"the index of weights in {len(shards)} files",
        "join them into one dictionary for `interop.from_torch`",
    )


def _is_pickle(file: BinaryIO) -> bool:
    """Whether the file begins with operations of a pickle; none is run."""
    file.seek(0)
    beginning = io.BytesIO(file.read(MOST_BEGINNING))
    try:
        found = list(itertools.islice(pickletools.genops(beginning), MANY))
    except Exception:  # arbitrary text parsed as operations
        return False
    return len(found) == MANY or found[-1][0].code == "."


def _is_msgpack(head: bytes) -> bool:
    """Whether this is a map whose first key is a short text."""
    skip = {0xDE: 3, 0xDF: 5}.get(head[0], 1 if 0x81 <= head[0] <= 0x8F else 0)
    key = head[skip : skip + 1]
    if not skip or not key or not 0xA1 <= key[0] <= 0xBF:
        return False
    return head[skip + 1 : skip + 1 + (key[0] & 31)].isascii()


def _tail(file: BinaryIO) -> bytes:
    size = file.seek(0, 2)
    file.seek(max(0, size - 8))
    return file.read(8) if size > 48 else b""
