"""Checkpoints on Orbax: asynchronous, atomic, verified when read.

One step is one folder holding a JSON record and the bytes of all leaves as one array
(`packing.py`). Orbax notices truncated files but not flipped bytes; the checksums do.
What cannot be read is moved aside, never deleted (`damaged.py`).

What is best on validation goes into the same tree as the state: one manager that keeps
both the newest and the best may delete the newest.
"""

import contextlib
import errno
import logging
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from cnnjax.devices import distributed
from cnnjax.errors import UserError, remedy
from cnnjax.files import write_failure
from cnnjax.records import is_writer
from cnnjax.run.checkpoints import old_formats
from cnnjax.run.checkpoints.damaged import (
    DamagedError,
    check_files,
    opening,
    reading,
    set_aside,
    system_error,
    twice,
)
from cnnjax.run.checkpoints.of_orbax import check_metadata
from cnnjax.run.checkpoints.packing import (
    PACKED,
    differences,
    make_record,
    named_leaves,
    open_record,
    pack,
    place,
    restore_args,
    save_args,
    unpack,
)
from cnnjax.run.checkpoints.plain_path import PlainPath

_MAX_NAMED_LEAVES = 3
# The leaf of a run's tree that counts its steps.
STEP = "state.step"
_NO_LIMIT = 10**9  # seconds: thirty years

# Orbax hands folders between its threads through tables of the whole process: two
# saves at a time, in two folders, take each other's.
_ONE_SAVE = threading.Lock()

_LOG = logging.getLogger(__name__)


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    """Drops the page of nested tracebacks for what we raise or warn as one sentence."""
    return "orbax" not in record.pathname


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
        else:
            _require_folder(self._directory)
        if not os.access(self._directory, os.R_OK | os.X_OK):
            raise UserError(
                f"cannot read the checkpoint folder {self._directory}: Permission "
                "denied; permit it, or choose another --workdir"
            )
        self._keep_from_orbax(writable)
        self._plain = PlainPath(self._directory)
        logging.getLogger("absl").addFilter(_is_not_of_orbax)  # once, however often
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep_last,
            create=False,
            read_only=not writable,
            async_options=_async_options(),
        )
        handlers = {
            # Random-looking float32 does not compress; trying costs time only.
            "state": ocp.PyTreeCheckpointHandler(use_compression=False),
            "record": ocp.JsonCheckpointHandler(),
        }
        with opening(self._directory, self._plain.path):
            self._manager = ocp.CheckpointManager(
                self._plain.path, options=options, item_handlers=handlers
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
          ValueError: the step, or a later one, is there already (`set_aside_after`).
          UserError: this save, or the one before it, could not be written.
        """
        latest = self.latest_step()
        if latest is not None and step <= latest:
            raise ValueError(
                f"cannot save step {step} in {self._directory}: step {latest} is there "
                f"already; call set_aside_after({step - 1}) first"
            )
        arrays, table = pack(named_leaves(tree))
        args = ocp.args.Composite(
            state=ocp.args.PyTreeSave(arrays, save_args=save_args(arrays)),
            record=ocp.args.JsonSave(make_record(metadata, table)),
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
          UserError: the saved tree has other leaves, shapes or dtypes, or the system
            does not let it be read.
        """
        self.wait()
        wanted = {} if example is None else named_leaves(example)
        for step in reversed(self.steps()):
            try:
                metadata, table = twice(self._read_record, step)
                if accept is not None:
                    accept(metadata)
                if example is None:
                    return step, twice(self._read_leaves, step, table, {}), metadata
                source = old_formats.sources(wanted, table)
                from_disk = {source[n]: leaf for n, leaf in wanted.items()}
                self._check_fit(step, table, from_disk)
                leaves = twice(self._read_leaves, step, table, from_disk)
            except DamagedError as error:
                self._warn(
                    f"checkpoint {self._directory / str(step)} is damaged ({error}) "
                    "and skipped; the one before it is used if there is one"
                )
                continue
            if words := old_formats.in_words(source):
                self._warn(f"checkpoint {self._directory / str(step)} {words}")
            leaves = old_formats.placed_by(source, leaves)
            placed = [place(leaves[name], leaf) for name, leaf in wanted.items()]
            tree = jax.tree.unflatten(jax.tree.structure(example), placed)
            return step, tree, metadata
        return None

    def set_aside_after(self, step: int) -> None:
        """Moves checkpoints later than a resume point aside, and warns where to.

        They are those that `restore_latest` skipped.
        """
        self.wait()
        later = [s for s in self.steps() if s > step]
        if not later:
            return
        with self._writing():
            for folder in [self._directory / str(s) for s in later]:
                if is_writer() and folder.exists():
                    self._warn(f"{folder} is kept as {set_aside(folder)}")
            distributed.max_over_processes(0)  # none looks again before all are moved
            self._manager.reload()

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
            self._plain.close()

    def _settle(self) -> None:
        """Waits on behalf of another run; its failure is raised later, by this one."""
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
            raise write_failure(self._directory, _no_permission())
        self._remove_leftovers()

    def _keep_from_orbax(self, writable: bool) -> None:
        """Moves aside what Orbax would wait for, such as a pipe, or fail on."""
        for folder in sorted(self._directory.glob("[0-9]*")):
            if writable and folder.is_symlink():
                raise UserError(
                    f"checkpoint {folder} is a link, which this run could not delete "
                    "when it is an old one: put the folder there that it leads to, or "
                    "choose another --workdir"
                )
            try:
                with reading(folder, folder):
                    check_files(folder)
                    check_metadata(folder)
            except DamagedError as error:
                if not writable:
                    raise UserError(
                        f"checkpoint {folder} cannot be read, because {error}: move "
                        "it away, or choose another --workdir"
                    ) from error
                if is_writer() and folder.exists():
                    self._warn(
                        f"checkpoint {folder} is damaged ({error}) and kept as "
                        f"{set_aside(folder)}"
                    )
        if writable:
            distributed.max_over_processes(0)  # none looks before all are moved

    def _remove_leftovers(self) -> None:
        """Deletes what a killed or failed save left; never a whole checkpoint."""
        if is_writer():
            for path in self._directory.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns errors of the system into one sentence."""
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            reason = system_error(error)
            if reason is None:
                raise
            self._remove_leftovers()
            raise write_failure(self._directory, reason) from error

    def _reading(self, step: int) -> contextlib.AbstractContextManager[None]:
        name = str(step)
        return reading(self._directory / name, self._plain.path / name)

    def _read_record(self, step: int) -> tuple[dict[str, Any], dict[str, list]]:
        """The caller's metadata and the table of leaves."""
        with self._reading(step):
            args = ocp.args.Composite(record=ocp.args.JsonRestore())
            return open_record(self._manager.restore(step, args=args).record)

    def _check_fit(
        self, step: int, saved: dict[str, list], wanted: dict[str, Any]
    ) -> None:
        if found := differences(saved, wanted):
            named = "; ".join(found[:_MAX_NAMED_LEAVES])
            more = len(found) - _MAX_NAMED_LEAVES
            raise UserError(
                f"checkpoint {self._directory / str(step)} does not fit this model: "
                f"{named}{f'; and {more} more' if more > 0 else ''}; change the config "
                "back or choose another --workdir"
            )

    def _read_leaves(
        self, step: int, saved: dict[str, list], wanted: dict[str, Any]
    ) -> dict[str, Any]:
        """Every leaf: whole on this host, or on its own sharding if it is spread."""
        args = ocp.args.PyTreeRestore(restore_args=restore_args(saved, wanted))
        with self._reading(step):
            args = ocp.args.Composite(state=args)
            arrays = self._manager.restore(step, args=args).state
            packed = arrays.get(PACKED, np.empty(0, np.uint8))
            leaves = {**arrays, **unpack(packed, saved)}
            _check_step(step, leaves)
            return leaves


def _check_step(step: int, leaves: dict[str, Any]) -> None:
    """Raises DamagedError if the arrays of a run are of another step than the folder.

    A folder that was renamed or copied over another has a name that lies.
    """
    own = leaves.get(STEP)
    if isinstance(own, np.ndarray) and (own != step).any():
        raise DamagedError(f"it is of step {own.max()}")


def _no_permission() -> OSError:
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _async_options() -> ocp.AsyncOptions:
    """How Orbax saves in the background.

    Where it creates folders there, and cannot, threads wait for them to appear, and
    the program for these threads, for five minutes. It measures time by the clock of
    the machine: one that is set ahead ends a save that has a limit.
    """
    options = ocp.AsyncOptions(create_directories_asynchronously=False)
    if distributed.num_processes() == 1:  # several wait for each other
        options.timeout_secs = _NO_LIMIT
    return options


def _require_folder(folder: Path) -> None:
    """Raises a UserError unless there is such a folder."""
    try:
        if stat.S_ISDIR(folder.stat().st_mode):
            return
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise UserError(
            f"cannot read the checkpoint folder {folder}: {error.strerror}; "
            f"{remedy(error)}"
        ) from error
    raise UserError(
        f"there is no checkpoint folder {folder}; give the --workdir of a run that has "
        "been started"
    )
