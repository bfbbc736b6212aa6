"""Builds files of torch by hand, operation by operation."""

import io
import pickle
import time
import tracemalloc
import zipfile

import pytest

from cnnjax import interop
from cnnjax.errors import UserError
from tests.interop.small_weights import NAME, SOURCE, one_sentence

GLOBAL = b"c%s\n%s\n"
V2 = GLOBAL % (b"torch._utils", b"_rebuild_tensor_v2")
HOOKS = GLOBAL % (b"collections", b"OrderedDict") + b")R"


def text(value):
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + len(data).to_bytes(4, "little") + data


def number(value):
    """A small or a large one."""
    if 0 <= value < 256:
        return b"K" + bytes([value])
    data = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def tensor(key, shape, stride, stored=1, first=0, kind=b"FloatStorage"):
    """A float32 tensor, as torch.save describes it."""
    storage = text("storage") + GLOBAL % (b"torch", kind)
    storage = b"(" + storage + text(key) + text("cpu") + number(stored) + b"tQ"
    lengths = b"(" + b"".join(map(number, shape)) + b"t"
    steps = b"(" + b"".join(map(number, stride)) + b"t"
    return (
        V2 + b"(" + storage + number(first) + lengths + steps + b"\x89" + HOOKS + b"tR"
    )


def pickled(*entries):
    """The pickle of a dictionary of (name, pickled value)."""
    content = b"".join(text(name) + value for name, value in entries)
    return b"\x80\x02}(" + content + b"u."


def archive(content, method=zipfile.ZIP_STORED, **storages):
    """The bytes of an archive with this pickle and these storages."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        made.writestr("net/data.pkl", content)
        for key, data in storages.items():
            made.writestr(f"net/data/{key.removeprefix('_')}", data)
    return file.getvalue()


def old(content, keys=(), data=b""):
    """The bytes of a file from before torch 1.6 with this pickle."""
    start = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    whole = b"".join(pickle.dumps(part, 2) for part in start) + content
    return whole + pickle.dumps(list(keys), 2) + data


def refused(path, *sentence, content=None, megabytes=64):
    """The one sentence about a file, which costs little memory and time."""
    if content is not None:
        path.write_bytes(content)
    tracemalloc.start()
    start = time.monotonic()
    try:
        with pytest.raises(UserError) as caught:
            interop.load(NAME, path, source=SOURCE)
        assert tracemalloc.get_traced_memory()[1] < megabytes * 2**20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 60
    assert str(caught.value).isprintable()
    return one_sentence(caught, sentence)
