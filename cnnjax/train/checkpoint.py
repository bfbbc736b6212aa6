"""Checkpoints on Orbax: asynchronous, atomic, verified when read.

One step is one folder holding a JSON record (the caller's metadata and, for every leaf,
shape, dtype and CRC-32) and the bytes of all leaves in the order of the record as one
array: a deep net has hundreds of small leaves, and Orbax's cost is per array. Leaves
spread over several hosts stay arrays of their own. Orbax notices truncated files but
not flipped bytes; the checksums do.

What is best on validation goes into the same tree as the state: one manager that keeps
both the newest and the best may delete the newest.
"""

import contextlib
import json
import logging
import math
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from cnnjax.errors import UserError
from cnnjax.records import from_line, to_line, write_failure
from cnnjax.train import earlier

# TensorStore reports failed writes as ValueError with the system's words inside.
_SYSTEM_WORDS = (
    "No space left on device",
    "Permission denied",
    "Read-only file system",
    "Disk quota exceeded",
    "File too large",
)
_MAX_NAMED_LEAVES = 3
_PACKED = "packed"
_CHUNK_BYTES = 64 * 2**20

# Orbax hands folders between its threads through tables of the whole process: two
# saves at a time, in two folders, take each other's.
_ONE_SAVE = threading.Lock()

_LOG = logging.getLogger(__name__)

# Orbax logs a page of nested tracebacks for what we raise or warn as one sentence.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)


class _DamagedError(Exception):
    """A checkpoint that cannot be read whole."""


class Checkpoints:
    """The checkpoints of one run in one folder.

    Args:
      directory: the folder; created if missing.
      keep_last: how many of the newest checkpoints stay, at least 1; None opens the
        folder for reading only: nothing is created, cleaned or written.
      warn: called with one sentence when a damaged checkpoint is skipped.

    Raises:
      UserError: the folder cannot be created or written (or, to read, is missing).
    """

    _last_saver: ClassVar["Checkpoints | None"] = None

    def __init__(
        self,
        directory: str | os.PathLike,
        *,
        keep_last: int | None,
        warn: Callable[[str], None] = _LOG.warning,
    ):
        # Orbax saves nothing, silently, under a relative path.
        self._directory = Path(directory).absolute()
        self._warn = warn
        self._failure: Exception | None = None
        writable = keep_last is not None
        if writable:
            self._prepare_directory()
        elif not self._directory.is_dir():
            raise UserError(
                f"there is no checkpoint folder {self._directory}; give the --workdir "
                "of a run that has been started"
            )
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep_last, create=False, read_only=not writable
        )
        handlers = {
            # Random-looking float32 does not compress; trying costs time only.
            "state": ocp.PyTreeCheckpointHandler(use_compression=False),
            "record": ocp.JsonCheckpointHandler(),
        }
        self._manager = ocp.CheckpointManager(
            self._directory, options=options, item_handlers=handlers
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def steps(self) -> list[int]:
        """Steps on disk, ascending; a damaged one is listed too."""
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        """The newest step on disk, damaged or not; None if there is none."""
        return max(self.steps(), default=None)

    def save(self, step: int, tree: Any, metadata: dict[str, Any]) -> None:
        """Copies the tree and writes it in the background.

        Args:
          step: must be later than every saved step.
          tree: a pytree of arrays; it may be donated or changed right after the call.
          metadata: what JSON can hold; comes back with the tree.

        Raises:
          ValueError: the step, or a later one, is there already (`delete_after` it).
          UserError: this save, or the one before it, could not be written.
        """
        latest = self.latest_step()
        if latest is not None and step <= latest:
            raise ValueError(
                f"cannot save step {step} in {self._directory}: step {latest} is there "
                f"already; call delete_after({step - 1}) first"
            )
        arrays, table = _pack(_named_leaves(tree))
        record = {"metadata": to_line(metadata), "leaves": table}
        record["crc"] = _record_crc(record)
        save_args = {n: ocp.SaveArgs(chunk_byte_size=_CHUNK_BYTES) for n in arrays}
        args = ocp.args.Composite(
            state=ocp.args.PyTreeSave(arrays, save_args=save_args),
            record=ocp.args.JsonSave(record),
        )
        with self._writing(), _ONE_SAVE:
            if Checkpoints._last_saver not in (None, self):
                Checkpoints._last_saver._settle()
            Checkpoints._last_saver = self
            started = self._manager.save(step, args=args)
        if not started:
            raise RuntimeError(f"Orbax did not save step {step} in {self._directory}")

    def restore_latest(
        self, example: Any, accept: Callable[[dict[str, Any]], None] | None = None
    ) -> tuple[int, Any, dict[str, Any]] | None:
        """Reads the newest whole checkpoint; a damaged one is skipped with a warning.

        Args:
          example: a tree of the wanted structure: arrays or `jax.ShapeDtypeStruct`.
            Leaves that are NumPy arrays come back as such, others on their sharding,
            whatever number of devices saved them. None: all leaves, by dotted names.
          accept: called with the metadata before anything else is compared; raises
            when the checkpoint is not for this run.

        Returns:
          (step, tree, metadata), or None if there is no whole checkpoint.

        Raises:
          UserError: the saved tree has other leaves, shapes or dtypes.
        """
        self.wait()
        wanted = {} if example is None else _named_leaves(example)
        for step in reversed(self.steps()):
            try:
                metadata, table = self._read_record(step)
                if accept is not None:
                    accept(metadata)
                if example is None:
                    return step, self._read_leaves(step, table, {}), metadata
                source = earlier.sources(wanted, table)
                from_disk = {source[n]: leaf for n, leaf in wanted.items()}
                self._check_fit(step, table, from_disk)
                leaves = self._read_leaves(step, table, from_disk)
            except _DamagedError as error:
                self._warn(
                    f"checkpoint {self._directory / str(step)} is damaged ({error}) "
                    "and skipped; the one before it is used if there is one"
                )
                continue
            if words := earlier.in_words(source):
                self._warn(f"checkpoint {self._directory / str(step)} {words}")
            leaves = earlier.placed_by(source, leaves)
            placed = [_place(leaves[name], leaf) for name, leaf in wanted.items()]
            tree = jax.tree.unflatten(jax.tree.structure(example), placed)
            return step, tree, metadata
        return None

    def delete_after(self, step: int) -> None:
        """Drops checkpoints later than a resume point, damaged ones included."""
        self.wait()
        with self._writing():
            for later in [s for s in self.steps() if s > step]:
                self._manager.delete(later)

    def wait(self) -> None:
        """Returns when everything saved is on disk; raises UserError if it is not."""
        with self._writing():
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then frees the threads."""
        try:
            self.wait()
        finally:
            with _ONE_SAVE:
                if Checkpoints._last_saver is self:
                    Checkpoints._last_saver = None
            with self._writing():  # Orbax raises what `wait` has raised again
                self._manager.close()

    def _settle(self) -> None:
        """Waits on behalf of another run; a failure is kept for this one to hear."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            self._failure = error

    def _prepare_directory(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_failure(self._directory, error) from error
        if not os.access(self._directory, os.W_OK | os.X_OK):
            raise write_failure(self._directory, PermissionError("Permission denied"))
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Frees what a killed or failed save left behind; never a whole checkpoint."""
        if jax.process_index() == 0:
            for path in self._directory.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns what the system refuses into one sentence."""
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            words = next((w for w in _SYSTEM_WORDS if w in str(error)), None)
            if words is None and not isinstance(error, OSError):
                raise
            self._remove_leftovers()
            reason = error if words is None else OSError(words)
            raise write_failure(self._directory, reason) from error

    def _read_record(self, step: int) -> tuple[dict[str, Any], dict[str, list]]:
        """The caller's metadata and the table of leaves."""
        with _reading():
            args = ocp.args.Composite(record=ocp.args.JsonRestore())
            record = self._manager.restore(step, args=args).record
            if record["crc"] != _record_crc(record):
                raise _DamagedError("its record has changed")
        return from_line(record["metadata"]), record["leaves"]

    def _check_fit(
        self, step: int, saved: dict[str, list], wanted: dict[str, Any]
    ) -> None:
        differences = []
        for name in dict.fromkeys([*wanted, *saved]):
            there = _words(saved[name][:2]) if name in saved else "missing"
            here = _words(_shape_dtype(wanted[name])) if name in wanted else "missing"
            if there != here:
                differences.append(f"{name} is {there} there and {here} here")
        if differences:
            named = "; ".join(differences[:_MAX_NAMED_LEAVES])
            more = len(differences) - _MAX_NAMED_LEAVES
            raise UserError(
                f"checkpoint {self._directory / str(step)} does not fit this model: "
                f"{named}{f'; and {more} more' if more > 0 else ''}; change the config "
                "back or choose another --workdir"
            )

    def _read_leaves(
        self, step: int, saved: dict[str, list], wanted: dict[str, Any]
    ) -> dict[str, Any]:
        """Every leaf: whole on this host, or on its own sharding if it is spread."""
        apart = {n: wanted.get(n) for n, entry in saved.items() if entry[2] is None}
        restore_args = {name: _restore_args(leaf) for name, leaf in apart.items()}
        if len(apart) < len(saved):
            restore_args[_PACKED] = ocp.RestoreArgs(restore_type=np.ndarray)
        with _reading():
            args = ocp.args.PyTreeRestore(restore_args=restore_args)
            args = ocp.args.Composite(state=args)
            arrays = self._manager.restore(step, args=args).state
            return {**arrays, **_unpack(arrays.get(_PACKED), saved)}


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Whatever the readers of Orbax trip over is damage."""
    try:
        yield
    except (MemoryError, _DamagedError):
        raise
    except Exception as error:
        first_line = next(iter(str(error).splitlines()), "")
        raise _DamagedError(f"{type(error).__name__}: {first_line[:120]}") from error


def _named_leaves(tree: Any) -> dict[str, Any]:
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


def _words(shape_dtype: list) -> str:
    shape, dtype = shape_dtype
    return f"{dtype}{shape}"


def _record_crc(record: dict[str, Any]) -> int:
    body = {key: record[key] for key in ("metadata", "leaves")}
    return zlib.crc32(json.dumps(body, sort_keys=True).encode())


def _pack(leaves: dict[str, Any]) -> tuple[dict[str, Any], dict[str, list]]:
    """The arrays to save, and [shape, dtype, CRC-32] by leaf.

    A leaf spread over hosts is an array of its own and has None for a checksum.
    """
    local = jax.device_get({n: leaf for n, leaf in leaves.items() if _is_local(leaf)})
    arrays, table, pieces = {}, {}, []
    for name, leaf in leaves.items():
        crc = None
        if name in local:
            piece = np.ascontiguousarray(local[name]).reshape(-1).view(np.uint8)
            crc = zlib.crc32(piece)
            pieces.append(piece)
        else:
            arrays[name] = leaf
        table[name] = [*_shape_dtype(leaf), crc]
    if pieces:
        # A copy: the caller may donate the buffers that the pieces are views of.
        arrays[_PACKED] = np.concatenate(pieces)
    return arrays, table


def _unpack(packed: np.ndarray | None, table: dict[str, list]) -> dict[str, np.ndarray]:
    """The packed leaves; raises _DamagedError if one is not what was saved."""
    leaves, start = {}, 0
    for name, (shape, dtype, crc) in table.items():
        if crc is None:
            continue
        dtype = jnp.dtype(dtype)
        end = start + math.prod(shape) * dtype.itemsize
        piece = packed[start:end]
        if zlib.crc32(piece) != crc:
            raise _DamagedError(f"{name} has changed")
        leaves[name] = np.array(piece).view(dtype).reshape(shape)
        start = end
    return leaves


def _restore_args(leaf: Any) -> ocp.RestoreArgs:
    if _is_local(leaf):
        return ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.ArrayRestoreArgs(sharding=leaf.sharding, dtype=leaf.dtype)


def _place(leaf: Any, example: Any) -> Any:
    """Puts a leaf where its example lives; NumPy examples stay on the host."""
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
