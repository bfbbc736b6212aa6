"""Pickles that ask for memory or time, or are damaged: nothing in them runs."""

import contextlib
import io
import struct

import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.interop.files import inert_pickle
from cnnjax.interop.files.read import opened
from tests.interop.files import hostile
from tests.interop.files.hostile import (
    archive,
    number,
    old,
    pickled,
    refused,
    tensor,
    text,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pth"


def laughs(levels=60):
    """Lists of ten times the list before."""
    steps = [b"]q\0"]
    for level in range(1, levels):
        steps += [b"](", b"h%c" % (level - 1) * 10, b"eq%c" % level]
    return b"".join(steps)


def nested_tuple(levels=60):
    """Pairs of twice the pair before, whose hash takes 2 ** levels steps."""
    return b")" + b"q\0h\0\x86" * levels


REDUCE = hostile.GLOBAL % (b"builtins", b"bytearray") + number(2**40) + b"\x85R"
PICKLES = {
    "laughs": text("x") + laughs(),
    "laughs as a state dict": text("state_dict") + laughs(),
    "a key whose hash takes for ever": nested_tuple()
    + number(1)
    + text("x")
    + number(1),
    "a set of such": text("x") + b"\x8f(" + nested_tuple() + b"\x90",
    "bytearray of a TB": text("x") + REDUCE,
    "tensor of a TB": text("x")
    + hostile.GLOBAL % (b"torch", b"FloatTensor")
    + number(2**38)
    + b"\x85R",
    "empty tensor on no device": text("x")
    + hostile.GLOBAL % (b"torch._utils", b"_rebuild_meta_tensor_no_storage")
    + b"("
    + number(1)
    + b"tR",
    "chain of reduce": text("x")
    + hostile.GLOBAL % (b"builtins", b"dict")
    + b")R" * 2000,
    "chain of newobj": text("x")
    + hostile.GLOBAL % (b"types", b"SimpleNamespace")
    + b")\x81)R}b" * 2000,
    "deep nesting": text("x") + b"](" * 5000 + b"e" * 5000,
    "deep tuples": text("x") + b")" + b"\x85" * 5000,
    "a large memo": text("x") + b"]" + b"r%s" % struct.pack("<I", 2**32 - 1),
    "a long integer": text("x") + b"\x8a\xff" + b"\x7f" * 255,
    "itself": text("x") + b"]q\0h\0a",
    "an iterated mapping": text("x")
    + hostile.GLOBAL % (b"collections", b"Counter")
    + laughs()
    + b"\x85R",
}


def repeated(once, often, times=5000):
    """One long object, in the memo, and an operation that takes it many times."""
    return text("x") + b"(" + once + b"q\0" + often * times + b"l"


LONG = b"(" + b"K\1" * 20_000 + b"t"
V2 = hostile.V2 + b"q\1"
STORAGE = tensor("0", (1,), (1,))[len(hostile.V2) + 1 :].split(b"Q")[0] + b"Qq\2"
PICKLES |= {
    "a long argument": repeated(V2 + LONG, b"h\1h\0R"),
    "a long reference": repeated(LONG, b"h\0Q"),
    "a tensor of many axes": repeated(V2 + STORAGE + LONG, b"h\1(h\2K\0h\0h\0\x89NtR"),
    "a name that has no end": text("x") + laughs() + text("name") + b"\x93",
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", PICKLES)
def test_a_pickle_within_bounds(path, zipped, kind):
    content = b"\x80\x02}(" + PICKLES[kind] + b"u."
    made = archive(content) if zipped else old(content)
    refused(path, "weight file", content=made)


BEYOND = {
    "text beyond the end": b"\x80\x02X\xff\xff\xff\xff",
    "text of 2 ** 60 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**60),
    "bytes of 2 ** 60": b"\x80\x04\x8e" + struct.pack("<Q", 2**60),
    "bytearray of 2 ** 60": b"\x80\x05\x96" + struct.pack("<Q", 2**60),
    "a frame of 2 ** 60": b"\x80\x04\x95" + struct.pack("<Q", 2**60),
    "an integer of 2 ** 31 bytes": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1),
    "an integer in digits": b"\x80\x02L" + b"9" * 100_000 + b"L\n.",
    "nothing on the stack": b"\x80\x02.",
    "no mark": b"\x80\x02e.",
    "too few for a tuple": b"\x80\x02K\1\x87.",
    "nothing in the memo": b"\x80\x02h\5.",
    "an import by instance": b"\x80\x02(cos\nsystem\n.",
    "INST": b"\x80\x02(X\4\0\0\0trueios\nsystem\n.",
    "extension registry": b"\x80\x02\x82\1.",
    "no stop": b"\x80\x02}",
    "odd entries": b"\x80\x02}(K\1u.",
    "a name twice": pickled(("a", number(1)), ("a", number(2))),
    "a persistent thing": b"\x80\x02K\1Q.",
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", BEYOND)
def test_a_pickle_that_is_refused(path, zipped, kind):
    made = archive(BEYOND[kind]) if zipped else old(BEYOND[kind])
    refused(path, "weight file", content=made)


def test_a_pickle_of_many_steps_or_bytes(path, monkeypatch):
    monkeypatch.setattr(inert_pickle, "MOST_OPERATIONS", 1000)
    content = b"\x80\x02}(" + text("x") + b"](" + b"N" * 2000 + b"eu."
    for made in (archive(content), old(content)):
        refused(path, "more than 1,000 steps", content=made)


def test_a_list_is_copied_a_few_times_only(path, monkeypatch):
    monkeypatch.setattr("cnnjax.interop.files.torch_file.MOST_OPERATIONS", 10_000)
    pairs = b"](" + b"".join(number(300 + i) + b"N\x86" for i in range(500)) + b"eq\0"
    name = hostile.GLOBAL % (b"collections", b"OrderedDict") + b"q\1"
    made = text("x") + b"(" + pairs + name + b"h\1h\0\x85R" * 50 + b"l"
    content = archive(b"\x80\x02}(" + made + b"u.")
    refused(path, "one list in too many dictionaries", content=content)


def test_a_pickle_of_many_bytes():
    content = io.BytesIO(b"\x80\x02" + text("x" * 2000) + b".")
    bounded = inert_pickle.Bounded(content, 1000)
    with pytest.raises(inert_pickle.PickleError, match="has more than"):
        for _ in inert_pickle.pickletools.genops(bounded):
            pass


@pytest.mark.parametrize("seed", range(3))
def test_random_pickles(path, seed):
    """Whatever the bytes are: a sentence, or containers of plain things."""
    rng = np.random.default_rng(seed)
    codes = np.frombuffer(b"}](.)NKX0q\0h\0Rub\x81\x85\x86\x93eat\x88\x89", "u1")
    for _ in range(100):
        body = rng.choice(codes, rng.integers(1, 60)).tobytes()
        path.write_bytes(old(b"\x80\x02" + body + b"."))
        with contextlib.suppress(UserError), opened(path):
            pass
