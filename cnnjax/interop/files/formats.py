"""Recognises the format of a weight file by its content; the name does not count."""

import json
import pathlib
import pickletools
import zipfile

from cnnjax.errors import UserError

SAFETENSORS, TORCH, ARRAYS = "safetensors", "torch", "npz"
ALLOWED = "allowed are .safetensors, files of torch.save and .npz"
AGAIN = "copy or download it again"
# How many bytes of a file are inspected.
HEAD = 512

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


def kind_of(path: pathlib.Path) -> str:
    """The format of a file: `SAFETENSORS`, `TORCH` or `ARRAYS`.

    Raises:
      UserError: there is no such file, or it has another format, which is named.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a weight file{_within(path)}")
    if not path.is_file():
        raise UserError(f"there is no file {path}: check the path of the weights")
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise UserError(f"weight file {path} is empty: {AGAIN}")
    if len(head) < 16:
        raise UserError(
            f"weight file {path} is not a complete file ({len(head)} bytes): {AGAIN}"
        )
    if head.startswith(b"PK"):
        return _kind_of_zip(path)
    if head[8:9] == b"{":
        return SAFETENSORS
    if head.startswith(b"\x80"):
        if head[1] > 2 and TORCH_MAGIC not in head[:32]:
            raise _refused(path, *PICKLE)
        return TORCH
    if head[257:262] == b"ustar":
        raise _refused(path, "a tar archive", f"unpack it; {ALLOWED}")
    raise _refused(path, *_another(path, head))


def _within(folder: pathlib.Path) -> str:
    """Names the weight files in a folder, one of which may have been meant."""
    endings = (".safetensors", ".pth", ".pt", ".th", ".bin", ".ckpt", ".npz")
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in endings)
    return f": it contains {' or '.join(names[:3])}" if names else ""


def _refused(path: pathlib.Path, what: str, advice: str) -> UserError:
    return UserError(f"weight file {path} is {what}: {advice}")


def _kind_of_zip(path: pathlib.Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    # Damaged tables of contents fail in many ways.
    except Exception as error:
        raise UserError(
            f"weight file {path} is not a complete torch file (an archive without a "
            f"table of contents): {AGAIN}"
        ) from error
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
        _check_sums(path)
        return TORCH
    if "model.weights.h5" in within:
        raise _refused(path, "a model of Keras", ALLOWED)
    if "archive_format" in within or any("/.data/" in name for name in names):
        raise _refused(path, "a program of torch.export or torch.package", ALLOWED)
    shown = ", ".join(names[:3]) or "nothing"
    raise _refused(path, f"a zip archive of {shown}", f"unpack it; {ALLOWED}")


def _check_sums(path: pathlib.Path) -> None:
    """Refuses corrupted weights, which torch would load as they are."""
    with zipfile.ZipFile(path) as archive:
        if not any(entry.CRC for entry in archive.infolist()):
            return  # torch may omit checksums (`set_crc32_options`)
        try:
            damaged = archive.testzip()
        except Exception as error:  # a damaged header of an entry
            damaged = str(error) or type(error).__name__
    if damaged:
        raise UserError(
            f"weight file {path} is not a complete torch file (damaged inside: "
            f"{damaged}): {AGAIN}"
        )


def _another(path: pathlib.Path, head: bytes) -> tuple[str, str]:
    """What a file in an unreadable format is, and what to do about it."""
    for start, what, advice in _STARTS:
        if head.startswith(start):
            return what, advice
    if head[:1] in b"(}]c" and _is_pickle(path):
        return PICKLE
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.lower().startswith(_PAGES):
        return "a web page, not the linked file", "download the file itself"
    if text[:1] in (b"{", b"["):
        return _json(path)
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
    if path.stat().st_size > 48 and _tail(path) == _LEVELDB:
        return "a TensorFlow checkpoint", ALLOWED
    return f"in an unknown format (it begins with {head[:12]!r})", ALLOWED


def _json(path: pathlib.Path) -> tuple[str, str]:
    try:
        shards = set(json.loads(path.read_text())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return "a JSON file without weights", ALLOWED
    return (
        f"the index of weights in {len(shards)} files",
        "join them into one dictionary for `interop.from_torch`",
    )


def _is_pickle(path: pathlib.Path) -> bool:
    """Whether the file parses as operations of a pickle; none is run."""
    try:
        with path.open("rb") as file:
            return any(op.code == "." for op, _, _ in pickletools.genops(file))
    except Exception:  # arbitrary text parsed as operations
        return False


def _is_msgpack(head: bytes) -> bool:
    """Whether this is a map whose first key is a short text."""
    skip = {0xDE: 3, 0xDF: 5}.get(head[0], 1 if 0x81 <= head[0] <= 0x8F else 0)
    key = head[skip : skip + 1]
    if not skip or not key or not 0xA1 <= key[0] <= 0xBF:
        return False
    return head[skip + 1 : skip + 1 + (key[0] & 31)].isascii()


def _tail(path: pathlib.Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-8, 2)
        return file.read()
