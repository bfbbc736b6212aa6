"""A folder that a program writes alone: only what it wrote there is ever replaced.

    with own_folder(out, "predict", {"split": "test"}, "--out") as new:
        write_text(new / "scores.csv", text)

`written.json` in the folder says which program wrote its files, what it was asked for,
and their digests. So a file that only bears a name of ours stays, and so does one that
a person has changed since.
"""

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cnnjax.errors import UserError, printable, shown
from cnnjax.files import UnfitFile, open_regular
from cnnjax.lock import LOCK, locked
from cnnjax.records import from_line, is_there, sift_record, to_line, write_json
from cnnjax.schema import Anything, Items, Maybe, Object, Table, Text

RECORD = "written.json"
_SCRATCH = ".unfinished-"
_DIGEST = Text(like="[0-9a-f]{64}")
# Of a file, the digests of all that it may be: a kill leaves the old or the new one.
KIND = Object(
    needs={
        "program": Text(),
        "asked": Table(Anything()),
        "files": Table(Items(_DIGEST)),
        "unfinished": Maybe(Text(like=rf"{re.escape(_SCRATCH)}\w+")),
    }
)


@contextlib.contextmanager
def own_folder(
    folder: Path, program: str, asked: Mapping[str, Any], flag: str = "--out"
) -> Iterator[Path]:
    """Gives an empty folder, whose files take the place of those of an earlier start.

    They do so in the end, file by file; if the body raises, all is as it was. Nobody
    else writes there meanwhile.

    Args:
      folder: it is made if missing.
      program: the verb.
      asked: what decides the files, as JSON: with anything else the files that are
        there are not replaced.
      flag: chooses the folder, for messages.

    Raises:
      UserError: it holds what this program did not write, or not for this; or it
        cannot be written.
      TakenError: another process writes there.
    """
    made = from_line(to_line(dict(asked)))
    missing = [path for path in (folder, *folder.parents) if not is_there(path)]
    busy = f"{printable(folder)} is being written"
    with _writing(folder, flag):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / LOCK, busy, otherwise=f"choose another {flag}") as lock:
            with _writing(folder, flag):
                record = {"program": program, "asked": made, "unfinished": None}
                record["files"] = _ours(folder, program, made, flag)
            new = folder / f"{_SCRATCH}{secrets.token_hex(4)}"
            try:
                with _writing(folder, flag):
                    # Named before it is made, so that a kill leaves none that is not.
                    write_json(folder / RECORD, record | {"unfinished": new.name})
                    new.mkdir()
                yield new
                lock.check(every=0)
                with _writing(folder, flag):
                    record["files"] = _ours(folder, program, made, flag, new.name)
                    _replace(folder, new, record)
            finally:
                with _writing(folder, flag):
                    _leave(folder, record, new)
    finally:
        with contextlib.suppress(OSError):
            for path in missing:
                path.rmdir()  # where nothing was written


@contextlib.contextmanager
def _writing(folder: Path, flag: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write into {printable(folder)} ({error.strerror or error}): free "
            f"space, permit it, or give another folder by {flag}"
        ) from error


def _ours(
    folder: Path, program: str, asked: Mapping[str, Any], flag: str, scratch: str = ""
) -> dict[str, list[str]]:
    """Name -> digest of the files that may be replaced; refuses all others.

    What a killed start has left is removed, but for the folder `scratch`.
    """
    found, wrong = sift_record(folder / RECORD, KIND)
    record = None if wrong else found
    known: Mapping[str, list[str]] = record["files"] if record else {}
    ours, new = {}, f"give a new folder by {flag}"
    for path in sorted(folder.iterdir()):
        if path.name.startswith(LOCK) or (record and path.name == RECORD):
            continue
        if record and path.name == record["unfinished"] and not path.is_symlink():
            if path.name != scratch:
                _remove(path)
            continue
        if path.name not in known:
            raise UserError(
                f"{printable(folder)} holds {printable(path.name)}, which is not ours: "
                f"{new}"
            )
        digest = _digest(path)
        if digest not in known[path.name]:
            raise UserError(
                f"{printable(path)} was changed since {program} wrote it: move it "
                f"away, or {new}"
            )
        ours[path.name] = [digest]
    if record and ours:
        _require_same(folder, record, program, asked, new)
    return ours


def _require_same(
    folder: Path,
    record: Mapping[str, Any],
    program: str,
    asked: Mapping[str, Any],
    new: str,
) -> None:
    if record["program"] != program:
        raise UserError(
            f"{printable(folder)} holds what {shown(record['program'])} wrote: {new}"
        )
    then = record["asked"]
    for key in sorted(then.keys() | asked.keys()):
        old, now = then.get(key), asked.get(key)
        if old != now:
            raise UserError(
                f"{printable(folder)} holds what {program} wrote for {shown(key)} "
                f"{shown(old)}, not {shown(now)}: {new}, or remove that one"
            )


def _digest(path: Path) -> str | None:
    """SHA-256 of a regular file; None of anything else."""
    try:
        with open_regular(path, 2**62, follow=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except UnfitFile:
        return None


def _replace(folder: Path, new: Path, record: dict[str, Any]) -> None:
    """Puts all new files in place and removes old ones that have no successor."""
    files = {path.name: str(_digest(path)) for path in sorted(new.iterdir())}
    old = dict(record["files"])
    # Before any file changes, so that a kill leaves none that is not known.
    both = {name: [*old.get(name, []), digest] for name, digest in files.items()}
    record["files"] = old | both
    write_json(folder / RECORD, record)
    for name in files:
        os.replace(new / name, folder / name)
    for name in old.keys() - files.keys():
        (folder / name).unlink()
    record["files"] = {name: [digest] for name, digest in files.items()}


def _leave(folder: Path, record: dict[str, Any], new: Path) -> None:
    """Removes what is unfinished, and the record where nothing of ours is there."""
    if new.is_dir():
        _remove(new)
    if record["files"]:
        write_json(folder / RECORD, record)
    else:
        (folder / RECORD).unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    """Removes a folder of files that a start has left."""
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
