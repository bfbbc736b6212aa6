"""A tree of arrays as one array of bytes and a record, and back.

A deep net has hundreds of small leaves, and Orbax's cost is per array. Leaves spread
over several hosts stay separate arrays. The record holds the caller's metadata and
a table of the leaves: [shape, dtype, CRC-32] by name.
"""

import json
import math
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from cnnjax.records import from_line, to_line
from cnnjax.run.checkpoints.damaged import DamagedError

PACKED = "packed"
_CHUNK_BYTES = 64 * 2**20


def named_leaves(tree: Any) -> dict[str, Any]:
    """Leaves by path, such as 'params.head.kernel', in the order of the tree."""
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    names = [jax.tree_util.keystr(p, simple=True, separator=".") for p, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("two leaves of the tree have the same path")
    return dict(zip(names, (leaf for _, leaf in pairs), strict=True))


def _is_local(leaf: Any) -> bool:
    """Whether this process holds all of the leaf (False: many hosts share it)."""
    sharding = getattr(leaf, "sharding", None)
    return sharding is None or sharding.is_fully_addressable


def _shape_dtype(leaf: Any) -> list:
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    return [list(np.shape(leaf)), np.dtype(dtype).name]


def make_record(metadata: dict[str, Any], table: dict[str, list]) -> dict[str, Any]:
    """What is saved as JSON beside the arrays, with its checksum."""
    record = {"metadata": to_line(metadata), "leaves": table}
    return record | {"crc": _crc(record)}


def open_record(record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, list]]:
    """(metadata, table) of `make_record`; raises DamagedError if it has changed."""
    if not isinstance(record, dict) or record["crc"] != _crc(record):
        raise DamagedError("its record has changed")
    return from_line(record["metadata"]), record["leaves"]


def _crc(record: dict[str, Any]) -> int:
    body = {key: record[key] for key in ("metadata", "leaves")}
    return zlib.crc32(json.dumps(body, sort_keys=True).encode())


def pack(leaves: dict[str, Any]) -> tuple[dict[str, Any], dict[str, list]]:
    """The arrays to save, and [shape, dtype, CRC-32] by leaf.

    A leaf spread over hosts stays a separate array and has None for a checksum.
    """
    local = jax.device_get({n: leaf for n, leaf in leaves.items() if _is_local(leaf)})
    arrays, table, pieces = {}, {}, []
    for name, leaf in leaves.items():
        crc = None
        if name in local:
            piece = np.ascontiguousarray(local[name]).reshape(-1).view(np.uint8)
            crc = zlib.crc32(piece.data)
            pieces.append(piece)
        else:
            arrays[name] = leaf
        table[name] = [*_shape_dtype(leaf), crc]
    if pieces:
        # A copy: the caller may donate the buffers that the pieces are views of.
        arrays[PACKED] = np.concatenate(pieces)
    return arrays, table


def unpack(packed: np.ndarray, table: dict[str, list]) -> dict[str, np.ndarray]:
    """The packed leaves; raises DamagedError if one is not what was saved."""
    leaves, start = {}, 0
    for name, (shape, dtype, crc) in table.items():
        if crc is None:
            continue
        dtype = jnp.dtype(dtype)
        end = start + math.prod(shape) * dtype.itemsize
        piece = packed[start:end]
        if zlib.crc32(piece.data) != crc:
            raise DamagedError(f"{name} has changed")
        leaves[name] = np.array(piece).view(dtype).reshape(shape)
        start = end
    return leaves


def differences(table: dict[str, list], wanted: dict[str, Any]) -> list[str]:
    """What a saved tree has otherwise than a wanted one; one phrase a leaf."""
    found = []
    for name in dict.fromkeys([*wanted, *table]):
        there = _in_words(table[name][:2]) if name in table else "missing"
        here = _in_words(_shape_dtype(wanted[name])) if name in wanted else "missing"
        if there != here:
            found.append(f"{name} is {there} there and {here} here")
    return found


def _in_words(shape_dtype: list) -> str:
    shape, dtype = shape_dtype
    return f"{dtype}{shape}"


def save_args(arrays: dict[str, Any]) -> dict[str, ocp.SaveArgs]:
    """How Orbax is to write the arrays of `pack`."""
    return {name: ocp.SaveArgs(chunk_byte_size=_CHUNK_BYTES) for name in arrays}


def restore_args(
    table: dict[str, list], wanted: dict[str, Any]
) -> dict[str, ocp.RestoreArgs]:
    """How Orbax is to read the arrays: spread leaves are placed as the wanted ones."""
    spread = [name for name, (_, _, crc) in table.items() if crc is None]
    args = {name: _restore_arg(wanted.get(name)) for name in spread}
    if len(spread) < len(table):
        args[PACKED] = ocp.RestoreArgs(restore_type=np.ndarray)
    return args


def _restore_arg(leaf: Any) -> ocp.RestoreArgs:
    if _is_local(leaf):
        return ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.ArrayRestoreArgs(sharding=leaf.sharding, dtype=leaf.dtype)


def place(leaf: Any, example: Any) -> Any:
    """Puts a leaf where its example is; NumPy examples stay on the host."""
    if isinstance(example, np.ndarray) or not isinstance(leaf, np.ndarray):
        return leaf
    if not _is_local(example):
        return jax.make_array_from_callback(
            leaf.shape, example.sharding, lambda index: leaf[index]
        )
    # Committing what was free would compile the step a second time.
    committed = getattr(example, "committed", True)
    return jax.device_put(
        leaf, getattr(example, "sharding", None) if committed else None
    )
