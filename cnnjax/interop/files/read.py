"""Reading weight files without trusting them."""

import contextlib
import functools
import io
import json
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import safetensors

from cnnjax.errors import UserError, printable
from cnnjax.files import open_regular
from cnnjax.interop.files.archive import AGAIN, Archive
from cnnjax.interop.files.formats import (
    ARRAYS,
    SAFETENSORS,
    TORCH_ARCHIVE,
    kind_of,
    within,
)
from cnnjax.interop.files.torch_file import read_torch, read_torch_archive
from cnnjax.interop.files.unread import Foreign, Unread, first_sentence, type_named

# Files of weights are smaller; one with a larger size is not what it says.
MOST_BYTES = 2**40
# Of the table of contents of a safetensors file, of about a hundred bytes a tensor.
MOST_CONTENTS = 16 * 2**20
# Of the description of an array in an .npz file.
MOST_HEADER = 10_000
_TYPES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"},
    **{"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8"},
    **{"U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8"},
    **{"BOOL": "bool", "C64": "complex64"},
}


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[Any]:
    """Opens a weight file: name -> `Unread`, or what `torch.save` wrote, with them.

    The content decides on the format, not the name: safetensors, `numpy.savez`, or
    torch. Values are read when they are asked for, while the file is open.

    Raises:
      UserError: no such file, another kind of file, a damaged one, one that cannot be
        read, or one with more than tensors.
    """
    path = checked_path(path)
    try:
        if path.is_dir():
            raise UserError(
                f"{printable(path)} is a folder, not a weight file{within(path)}"
            )
        with open_regular(path, MOST_BYTES) as file:
            yield _read(path, file)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no file {printable(path)}: check the path of the weights"
        ) from error
    except OSError as error:
        raise UserError(
            f"weight file {printable(path)} cannot be read: "
            f"{error.strerror or first_sentence(error)}"
        ) from error


def _read(path: pathlib.Path, file: BinaryIO) -> Any:
    kind, archive = kind_of(path, file)
    if kind == SAFETENSORS:
        return _read_safetensors(path, file)
    if archive is not None and kind == ARRAYS:
        return {n.removesuffix(".npy"): _array(archive, n) for n in archive.entries}
    if archive is not None and kind == TORCH_ARCHIVE:
        return read_torch_archive(path, archive, file.seek(0, 2))
    return read_torch(path, file)


def checked_path(path: Any) -> pathlib.Path:
    """A path given as text, bytes or path.

    Raises:
      UserError: it is none of these, or no file can have that name.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise UserError(
            f"the path of the weights is {path!r}: give the path of a file, such as "
            "'net.safetensors'"
        )
    text = os.fsdecode(path)
    if "\0" in text:
        raise UserError(f"the path of the weights is {text!r}: no file has such a name")
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"the path of the weights is {printable(text)}: this user has no home "
            "folder"
        ) from error


def _read_safetensors(path: pathlib.Path, file: BinaryIO) -> dict[str, Any]:
    def incomplete(reason: str) -> UserError:
        return UserError(
            f"weight file {printable(path)} is not a complete .safetensors file "
            f"({printable(reason)}): {AGAIN}"
        )

    length = int.from_bytes(file.read(8), "little")
    if length > MOST_CONTENTS:
        raise incomplete(f"its table of contents would have {length:,} bytes")
    try:
        content = safetensors.safe_open(path, framework="numpy")
        json.loads(file.read(length), object_pairs_hook=_without_repetition)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise incomplete(first_sentence(error)) from error
    found: dict[str, Any] = {}
    for name in sorted(content.keys()):
        part = content.get_slice(name)
        kind, shape = part.get_dtype(), tuple(part.get_shape())
        read = functools.partial(content.get_tensor, name)
        found[name] = Foreign(kind)
        if kind in _TYPES:
            try:
                found[name] = Unread(shape, type_named(_TYPES[kind]), read)
            except ValueError as error:
                raise incomplete(str(error)) from error
    return found


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its table of contents has a name twice")
    return found


def _array(archive: Archive, name: str) -> Unread:
    """One array of an .npz file; the description alone is read now."""
    header = io.BytesIO(archive.read(name, MOST_HEADER))
    describe = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(header)
        shape, by_columns, dtype = describe[version](header, MOST_HEADER)
    # Damaged bytes can make the parser fail in any way.
    except Exception as error:
        raise _no_plain_array(archive, name, first_sentence(error)) from error
    start = header.tell()
    shown = tuple(shape)

    def read() -> np.ndarray:
        length = math.prod(shown) * dtype.itemsize
        if archive.size(name) != start + length:
            raise archive.damaged(f"{printable(name)} has another length than it says")
        content = archive.read(name, start + length)
        values = np.frombuffer(content, dtype, offset=start)
        return values.reshape(shown, order="F" if by_columns else "C")

    try:
        return Unread(shown, dtype, read)
    except ValueError as error:
        raise _no_plain_array(archive, name, str(error)) from error


def _no_plain_array(archive: Archive, name: str, reason: str) -> UserError:
    return UserError(
        f"weight file {printable(archive.path)} is not an .npz file of plain arrays "
        f"({printable(name)}: {printable(reason)}): {AGAIN}"
    )
