"""Reading files of torch: without torch, and without running code from them.

What `torch.save` writes is a pickle that names storages, and the bytes of each. Tensors
and plain containers are rebuilt. Checkpoints also hold settings and scores: objects of
known harmless classes are replaced by inert ones, and any other is refused.
"""

import functools
import io
import math
import pathlib
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from cnnjax.errors import UserError, printable
from cnnjax.interop.files.archive import AGAIN, Archive
from cnnjax.interop.files.formats import PICKLE
from cnnjax.interop.files.inert_pickle import (
    MOST_BYTES,
    MOST_OPERATIONS,
    ArrayObject,
    Inert,
    Named,
    PickleError,
    put,
    read_pickle,
)
from cnnjax.interop.files.torch_names import is_known
from cnnjax.interop.files.torch_storages import Entries, Storages, Stretches
from cnnjax.interop.files.unread import MOST_AXES, Foreign, Unread, type_named

_DICTIONARIES = ("collections.OrderedDict", "collections.Counter")
_REBUILT = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
_UNTYPED = "torch._utils._rebuild_tensor_v3"
_PARAMETERS = (
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.nn.parameter.Parameter",
)
# Class of a storage -> type of its numbers.
_STORAGES = {
    **{"Float": "float32", "Double": "float64", "Half": "float16"},
    **{"BFloat16": "bfloat16", "Long": "int64", "Int": "int32", "Short": "int16"},
    **{"Char": "int8", "Byte": "uint8", "Bool": "bool", "Untyped": "uint8"},
    **{"QInt8": "int8", "QUInt8": "uint8", "QInt32": "int32"},
    **{"QUInt4x2": "uint8", "QUInt2x4": "uint8"},
    **{"ComplexFloat": "complex64", "ComplexDouble": "complex128"},
}
# What torch.save writes as bytes and a type.
_TYPES = {
    *_STORAGES.values(),
    *("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e4m3fnuz"),
    *("float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
}
# The three pickles before that of the object itself, in files that are no archives.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class _Storage(NamedTuple):
    """Numbers in a file: a class of torch, the key of the bytes, where they begin."""

    kind: str
    key: str
    first: int = 0


def read_torch(path: pathlib.Path, file: BinaryIO) -> Any:
    """Reads what `torch.save` wrote: containers of `Unread` tensors.

    Args:
      path: for messages.
      file: open at its start; values are read from it later.

    Raises:
      UserError: the file is damaged, or contains objects that are neither tensors nor
        known to be harmless.
    """
    return _checked(path, functools.partial(_read_pickles, path, file))


def read_torch_archive(path: pathlib.Path, archive: Archive, size: int) -> Any:
    """As `read_torch`, of an archive.

    Args:
      path: for messages.
      archive: in a file of `size` bytes.

    Raises:
      UserError: as `read_torch`; or it would be larger in memory than on disk.
    """
    unpacked = sum(map(archive.size, archive.entries))
    if unpacked > size:
        raise UserError(
            f"weight file {printable(path)} is an archive that was compressed, which "
            f"torch.save does not do, and would fill {unpacked:,} bytes: unpack it and "
            "save it again by torch.save"
        )
    return _checked(path, functools.partial(_read_archive, path, archive))


def _checked(path: pathlib.Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (UserError, OSError):
        raise
    # Damaged bytes can make the machine fail in any way.
    except Exception as error:
        reason = type(error).__name__
        if isinstance(error, PickleError | EOFError | ValueError):
            reason = printable(str(error).split("\n")[0])[:200]
        raise _incomplete(path, reason) from error


def _incomplete(path: pathlib.Path, reason: str) -> UserError:
    return UserError(
        f"weight file {printable(path)} is not a complete torch file ({reason}): "
        f"{AGAIN}"
    )


def _read_archive(path: pathlib.Path, archive: Archive) -> Any:
    pickles = [n for n in archive.entries if n.split("/", 1)[-1] == "data.pkl"]
    if len(pickles) != 1:
        raise archive.damaged("more than one data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    source = Entries(archive, folder)
    content = archive.read(pickles[0], MOST_BYTES)
    return _Reader(path, source).pickle(io.BytesIO(content))


def _read_pickles(path: pathlib.Path, file: BinaryIO) -> Any:
    source = Stretches(file)
    reader = _Reader(path, source)
    if reader.pickle(file) != _MAGIC:
        what, advice = PICKLE
        raise UserError(f"weight file {printable(path)} is {what}: {advice}")
    if reader.pickle(file) != _PROTOCOL:
        raise PickleError("another version of the format")
    machine = reader.pickle(file)
    source.order = "<" if machine.get("little_endian", True) else ">"
    saved = reader.pickle(file)
    source.find(reader.pickle(file), reader.sizes)
    return saved


class _Reader:
    """Reads the pickles of one file; tensors take their values from its storages."""

    def __init__(self, path: pathlib.Path, source: Storages):
        self.path, self.source = path, source
        self.sizes: dict[str, int] = {}  # key of a storage -> bytes of an element
        self.known: dict[str, bytes] = {}
        self.copied = 0  # entries of dictionaries that were made of lists

    def pickle(self, file: BinaryIO) -> Any:
        return read_pickle(file, self._build, self._storage, self._check)

    def _check(self, name: str) -> None:
        if not is_known(name):
            raise UserError(
                f"weight file {printable(self.path)} contains more than tensors "
                f"({printable(name)}), which could run code: save `model.state_dict()` "
                "alone, or, only if you trust the file, convert it where it was "
                "written by `torch.save(torch.load(path, weights_only=False)"
                "['state_dict'], new)`, with `.state_dict()` in place of the brackets "
                "for a whole net"
            )

    def _storage(self, said: tuple) -> _Storage:
        """What stands for ('storage', class, key, device, count[, view])."""
        mark, kind, key, _, _, *view = said
        if mark != "storage" or not (isinstance(kind, Named) and isinstance(key, str)):
            raise PickleError("a storage without a class or a key")
        kind = kind.rpartition(".")[2].removesuffix("Storage")
        # Files before torch 0.4 have storages that are a part of another.
        first = view[0][1] if view and view[0] is not None else 0
        if not _are_counts(first):
            raise PickleError("a storage that begins nowhere")
        self.sizes[key] = type_named(_STORAGES[kind]).itemsize
        return _Storage(kind, key, first)

    def _build(self, name: Named, arguments: tuple) -> Any:
        if name == "torch._tensor._rebuild_from_type_v2":  # a tensor with attributes
            name, _, arguments = arguments[:3]
        if name in _REBUILT:
            storage, first, size, stride, *rest = arguments
            return self._tensor(storage, _STORAGES, first, size, stride, rest[2:])
        if name == _UNTYPED:
            storage, first, size, stride, _, _, dtype, *rest = arguments
            kind = dtype.removeprefix("torch.") if isinstance(dtype, Named) else ""
            types = {storage.kind: kind} if kind in _TYPES else {}
            return self._tensor(storage, types, first, size, stride, rest)
        if name in _PARAMETERS and arguments:
            return arguments[0]
        if name.startswith("torch._utils._rebuild") or name in _PARAMETERS:
            return Foreign(name.rpartition("._rebuild_")[2])
        if name in _DICTIONARIES or name == "collections.defaultdict":
            return self._dictionary(name, arguments)
        return ArrayObject() if name.endswith("._reconstruct") else Inert()

    def _dictionary(self, name: Named, arguments: tuple) -> dict:
        """An empty one, or that of a list of pairs, as Python 2 wrote it."""
        target: dict = {}
        if name in _DICTIONARIES and arguments:
            pairs = arguments[0]
            pairs = pairs.items() if isinstance(pairs, dict) else pairs
            self.copied += len(pairs)
            if self.copied > MOST_OPERATIONS:
                raise PickleError("its pickle has one list in too many dictionaries")
            for key, value in pairs:
                put(target, key, value)
        return target

    def _tensor(self, storage, types, first, size, stride, metadata) -> Any:
        if any(metadata):
            return Foreign("a negated or conjugated view")
        if storage.kind not in types:
            return Foreign(f"the type of a {storage.kind}Storage")
        dtype = type_named(types[storage.kind])
        size, stride = tuple(size), tuple(stride)
        few = len(size) == len(stride) <= MOST_AXES
        if not few or not _are_counts(first, *size, *stride):
            raise PickleError("a tensor with a negative or odd shape")
        half = dtype.itemsize < 4 and dtype.kind in "fV"  # NumPy has no bfloat16
        shown = np.dtype(np.float32) if half else dtype
        read = functools.partial(self._values, storage, dtype, first, size, stride)
        return Unread(size, shown, lambda: read().astype(shown, copy=False))

    def _values(self, storage, dtype, first, size, stride) -> np.ndarray:
        if storage.key not in self.known:
            self.known[storage.key] = self.source.read(storage.key)
        content = self.known[storage.key]
        stored = len(content) // dtype.itemsize
        if math.prod(size) > stored:
            raise UserError(
                f"weight file {printable(self.path)} contains an expanded tensor, of "
                f"shape {size} and {stored} stored numbers: save "
                "`{k: v.contiguous() for k, v in model.state_dict().items()}`"
            )
        if self.source.order == ">":
            dtype = dtype.newbyteorder(">")
        start = dtype.itemsize * (storage.first + first)
        steps = tuple(dtype.itemsize * step for step in stride)
        try:
            return np.ndarray(size, dtype, content, start, steps)
        except (TypeError, ValueError, OverflowError) as error:
            raise _incomplete(
                self.path, "a tensor is larger than what is stored of it"
            ) from error


def _are_counts(*values: Any) -> bool:
    return all(type(n) is int and 0 <= n < 2**63 for n in values)
