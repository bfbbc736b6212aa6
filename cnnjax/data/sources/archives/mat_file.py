"""Reads an array of structures from a MATLAB file of version 5, such as a meta.mat.

Whatever a file says of lengths, no more is taken than its bytes hold, which are bounded
when they unpack.

Source: MAT-File Format (MathWorks, R2024a), "Level 5 MAT-File Format".
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

MOST_UNPACKED = 2**26
_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_STRUCTURES, _CHARACTERS = 2, 4
# Type of data -> NumPy's, little-endian.
_TYPES = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4"}
_TYPES |= {9: "<f8", 12: "<i8", 13: "<u8", 16: "u1", 17: "<u2"}


def structures(content: bytes, name: str) -> list[dict[str, Any]]:
    """The elements of one variable, an array of structures.

    Args:
      content: of the file.
      name: of the variable.

    Returns:
      A dict for each, of the fields that are text or numbers (arrays, flat).

    Raises:
      ValueError: no such variable, or no such file.
    """
    if content[126:128] != b"IM":
        raise ValueError("no little-endian MATLAB file of version 5")
    for kind, data in _elements(content[_HEADER:]):
        if kind == _COMPRESSED:
            stream = zlib.decompressobj()
            unpacked = stream.decompress(data, MOST_UNPACKED)
            if stream.unconsumed_tail:
                raise ValueError(f"it unpacks to more than {MOST_UNPACKED:,} bytes")
            ((kind, data),) = list(_elements(unpacked))[:1]
        if kind == _MATRIX and (found := _named(data, name)) is not None:
            return found
    raise ValueError(f"no array of structures named {name}")


def _named(data: bytes, name: str) -> list[dict[str, Any]] | None:
    """The elements of an array of structures with that name; None for another one."""
    flags, _, called, *rest = _elements(data)
    if called[1] != name.encode() or flags[1][0] != _STRUCTURES:
        return None
    (length,) = struct.unpack("<i", rest[0][1][:4])
    if not 0 < length <= len(rest[1][1]):
        raise ValueError("names of fields without a length")
    names = [
        rest[1][1][i : i + length].split(b"\0")[0].decode()
        for i in range(0, len(rest[1][1]), length)
    ]
    values = [_value(content) for _, content in rest[2:]]
    if len(values) % len(names):
        raise ValueError("fields without a value")
    return [
        dict(zip(names, values[i : i + len(names)], strict=True))
        for i in range(0, len(values), len(names))
    ]


def _value(data: bytes) -> Any:
    """Text, or the numbers of an array; None for what is neither."""
    parts = list(_elements(data))
    if len(parts) < 4:
        return None
    (flags, _, _, (kind, content)), array_class = parts[:4], parts[0][1][0]
    if kind not in _TYPES or not flags:
        return None
    if array_class == _CHARACTERS:
        return content.decode("utf-16-le" if _TYPES[kind] == "<u2" else "utf-8")
    return np.frombuffer(content, _TYPES[kind])


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, content) of what stands one after the other."""
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, place)
        if kind >> 16:  # up to four bytes, within the tag
            kind, size = kind & 0xFFFF, kind >> 16
            yield kind, data[place + 4 : place + 4 + min(size, 4)]
            place += 8
            continue
        start = place + 8
        if start + size > len(data):
            raise ValueError("it is cut short")
        yield kind, data[start : start + size]
        # Compressed ones are followed at once by the next.
        place = start + size + (-size % 8 if kind != _COMPRESSED else 0)
