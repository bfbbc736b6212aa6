"""Edits of records and of their files, as accidents and strangers make them."""

import copy
import functools
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LARGER_THAN_ANY = "1e400"  # legal JSON that is no float
WRONG = {
    "null": None,
    "true": True,
    "minus one": -1,
    "minus five percent": -5.0,
    "795 percent": 795.5,
    "400 digits": 10**400,
    "NaN": float("nan"),
    "1e400": LARGER_THAN_ANY,
    "empty": "",
    "huge text": "x" * 300_000,
    "path": "../../up",
    "markup": "<script>",
    "surrogate": "\ud800",
    "list": [],
    "nested": [[[None]]],
    "object": {"a": 1},
}
MOST_ITEMS = 2  # of a list: the others are alike


def edits(record: Any, of: str = "") -> Iterator[tuple[str, Callable[[], Any]]]:
    """What was done, and a function that gives the record edited in one place.

    There is one for every place and every edit.
    """
    for path in _places(record):
        name = ".".join(map(str, path))
        for how, value in WRONG.items():
            yield f"{of}{name}: {how}", functools.partial(_put, record, path, value)
        yield f"{of}{name}: missing", functools.partial(_put, record, path)
    if isinstance(record, dict):
        yield f"{of}one more", lambda: {**record, "extra": {"a": [1]}}


def _places(record: Any, at: tuple = ()) -> Iterator[tuple]:
    items = []
    if isinstance(record, dict):
        items = list(record.items())
    elif isinstance(record, list):
        items = list(enumerate(record))[:MOST_ITEMS]
    for key, value in items:
        yield (*at, key)
        yield from _places(value, (*at, key))


def _put(record: Any, path: tuple, *value: Any) -> Any:
    """A copy with another value at a place, or without what is there."""
    edited = copy.deepcopy(record)
    inner = edited
    for key in path[:-1]:
        inner = inner[key]
    if value:
        inner[path[-1]] = value[0]
    else:
        del inner[path[-1]]
    return edited


def text_of(record: Any) -> str:
    """As a careless writer has it: NaN in bare words, numbers of any size."""
    return json.dumps(record).replace(f'"{LARGER_THAN_ANY}"', LARGER_THAN_ANY)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30)


def _socket(path: Path) -> None:
    short = os.path.relpath(path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(short if len(short) < len(str(path)) else str(path))


def _bytes(content: bytes):
    return lambda path: path.write_bytes(content)


# What was done -> puts something else where a file was.
FILES = {
    "missing": lambda path: None,
    "empty": _bytes(b""),
    "not UTF-8": _bytes(b'{"a": "\xff\xfe"}'),
    "null": _bytes(b"null"),
    "a number": _bytes(b"3"),
    "a list": _bytes(b"[]"),
    "a text": _bytes(b'"x"'),
    "an object": _bytes(b"{}\n"),
    "zeros": _bytes(b"\0" * 4096),
    "deep": _bytes(b"[" * 100_000),
    "5000 digits": _bytes(b"9" * 5000),
    "twice": _bytes(b"{}{}"),
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a dangling link": lambda path: path.symlink_to("gone"),
    "a loop": lambda path: path.symlink_to(path.name),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a gigabyte": _sparse,
}
