"""Where the metrics of a seed go: `metrics.jsonl` and, if wanted, TensorBoard."""

import contextlib
import logging
import math
import os
import re
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cnnjax.errors import UserError
from cnnjax.files import write_failure
from cnnjax.records import read_metrics, to_line, unreadable, write_text

_LOG = logging.getLogger(__name__)
# TensorBoard reads the files of a folder in the order of their names.
_NAME = re.compile(r"events\.out\.tfevents\.(\d{10})\.")
_VERSION = "brain.Event:2"


class MetricsWriter:
    """Appends rows to `metrics.jsonl`, of which a kill can cut the last one only.

    Every row is one `write` of one whole line to a file opened for appending; the
    kernel ends the write of a killed process at the border of a page. Readers leave
    out a line without its newline, and the next writer removes it.

    Args:
      directory: the folder of one run and seed; created if missing.
      tensorboard: also write event files there (scalars only). They are for the eye:
        where they cannot be written, the run goes on without them.
      warn: called with a sentence then, once.

    Raises:
      UserError: no permission, disk full.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        tensorboard: bool,
        warn: Callable[[str], None] = _LOG.warning,
    ):
        self.path = Path(directory) / "metrics.jsonl"
        self._tensorboard = tensorboard
        self._warn = warn
        self._events: EventFile | None = None  # made for the first row
        self._purge_step: int | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: Any = _open_repaired(self.path)  # None once closed
        except OSError as error:
            raise write_failure(self.path, error) from error

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def write(self, row: dict[str, Any]) -> None:
        """Appends one row; it must have a 'step' (see `docs/design.md` for the rest).

        Raises:
          UserError: disk full; what was written before stays whole.
        """
        line = f"{to_line(row)}\n".encode()
        try:
            append_whole(self._file, line)
        except OSError as error:
            raise write_failure(self.path, error) from error
        if self._tensorboard:
            self._write_events(row)

    def truncate_after(self, step: int) -> None:
        """Drops rows later than a resume point; call it before the first `write`."""
        rows = read_metrics(self.path)
        kept = [row for row in rows if row["step"] <= step]
        self._purge_step = step + 1
        if len(kept) < len(rows):
            write_text(self.path, "".join(f"{to_line(row)}\n" for row in kept))
            os.close(self._file)
            self._file = _open_repaired(self.path)

    def close(self) -> None:
        """Closes the files; a second call does nothing."""
        self.drop_events()
        if self._file is not None:
            file, self._file = self._file, None
            try:
                os.close(file)
            except OSError as error:  # a network file system may tell it this late
                raise write_failure(self.path, error) from error

    def drop_events(self) -> None:
        """Writes no event files any more."""
        self._tensorboard = False
        if self._events is not None:
            self._events.close()
            self._events = None

    def _write_events(self, row: dict[str, Any]) -> None:
        try:
            if self._events is None:
                self._events = EventFile(self.path.parent, self._purge_step)
            self._events.add(row["step"], scalars_of(row))
        except OSError as error:
            self.drop_events()
            self._warn(
                f"no more events for TensorBoard, because {self.path.parent} takes "
                f"none ({error.strerror}): training goes on, and metrics.jsonl has "
                "all numbers"
            )


class EventFile:
    """Scalars for TensorBoard, without a thread or a queue that could wait for ever.

    The writers of tensorboardX and TensorFlow hand events to a thread of their own.
    When it dies, as on a full disk, the training waits in its queue. Here an event is
    one write of the caller: it is on disk, or it is an error.

    Args:
      folder: where to make it.
      purge_step: TensorBoard hides the events of earlier files from this step on,
        those that a killed run wrote beyond the step where it resumes.

    Raises:
      OSError: it cannot be made.
    """

    def __init__(self, folder: Path, purge_step: int | None = None):
        # Imported late: it takes a second, and most runs do without.
        from tensorboardX.proto import event_pb2, summary_pb2

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._file = _create(folder)
        try:
            self._write(file_version=_VERSION)
            if purge_step is not None:
                start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
                self._write(step=purge_step, session_log=start)
        except BaseException:
            self.close()
            raise

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends scalars by tag.

        Raises:
          OSError: they cannot be written; the file stays whole.
        """
        values = [
            self._summary.Value(tag=tag, simple_value=value)
            for tag, value in scalars.items()
        ]
        if values:
            self._write(step=step, summary=self._summary(value=values))

    def close(self) -> None:
        """Closes the file; what could not be written is lost."""
        with contextlib.suppress(OSError):
            os.close(self._file)

    def _write(self, **fields: Any) -> None:
        event = self._event(wall_time=time.time(), **fields)
        append_whole(self._file, _framed(event.SerializeToString()))


def append_whole(file: int, content: bytes) -> None:
    """Appends to a file all bytes, or none.

    Raises:
      OSError: the system does not take them.
    """
    size = os.fstat(file).st_size
    try:
        while content:
            content = content[os.write(file, content) :]
    except OSError:
        if os.fstat(file).st_size > size:
            os.ftruncate(file, size)
        raise


def _open_repaired(path: Path) -> int:
    """Opens for appending, after cutting off a last line that has no newline.

    Raises:
      UserError: it cannot be read; or it is a link, or no file: what is written there
        is not of this run.
      OSError: it cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(
            f"{path} is not a file of its own, which is where the metrics go: move it "
            "away, or choose another --workdir"
        )
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        content = os.pread(file, os.fstat(file).st_size, 0)
    except OSError as error:
        os.close(file)
        raise unreadable(path, error) from error
    if content and not content.endswith(b"\n"):
        os.ftruncate(file, content.rfind(b"\n") + 1)
    return file


def scalars_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a row of metrics, by their tags."""
    group = event_group(row)
    found = {}
    for name, value in row.items():
        number = value.item() if hasattr(value, "item") else value
        if name not in ("step", "epoch") and _is_finite_number(number):
            found[f"{group}/{name}"] = number
    return found


def event_group(row: Mapping[str, Any]) -> str:
    """The part of a TensorBoard tag before the slash.

    'train' is what training itself sees, augmented and while the weights move;
    'train_eval', 'validation' and 'test' are evaluations of a whole split. One tag
    never has two meanings: its curve would jump where they meet.
    """
    split = row.get("split", "train")
    return "train_eval" if row.get("kind") == "eval" and split == "train" else split


def _create(folder: Path) -> int:
    """Makes a file whose name comes after those that are there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    there = [int(m[1]) for name in os.listdir(folder) if (m := _NAME.match(name))]
    # As others name theirs, by the clock; but that may have been set back.
    second = max([int(time.time()), *(number + 1 for number in there)])
    while True:
        path = folder / f"events.out.tfevents.{second:010}.cnnjax"
        try:
            return os.open(path, flags, 0o666)
        except FileExistsError:
            second += 1


def _framed(event: bytes) -> bytes:
    """A record of TFRecord: length, its checksum, the bytes, their checksum."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(event))
    sums = [struct.pack("<I", masked_crc32c(part)) for part in (length, event)]
    return length + sums[0] + event + sums[1]


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
