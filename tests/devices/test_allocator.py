"""Freed memory stays with a process that imports cnnjax, unless its user chose."""

import json
import os
import subprocess
import sys

import pytest

from cnnjax.devices import allocator

# Prints the page faults of taking, filling and freeing 64 MiB: twice, once more after
# giving it back, and twice in another thread.
FAULTS = """
import ctypes, json, resource, threading
from cnnjax.devices import allocator
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
found = []
def take():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    piece = libc.malloc(2**26)
    libc.memset(piece, 1, 2**26)
    libc.free(piece)
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
def take_twice():
    take()
    take()
take_twice()
allocator.make_room(allocator.LARGE)
take()
thread = threading.Thread(target=take_twice)
thread.start()
thread.join()
print(json.dumps(found))
"""
of_glibc = pytest.mark.skipif(not allocator._is_glibc(), reason="needs glibc")


PAGES = 2**26 / 4096


def plain_environment():
    """Of a user who has set nothing of malloc."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    plain.pop("GLIBC_TUNABLES", None)
    return plain | {"JAX_PLATFORMS": "cpu"}


def faults(**variables):
    """Page faults of each time."""
    env = plain_environment() | variables
    run = [sys.executable, "-c", FAULTS]
    return json.loads(subprocess.run(run, env=env, capture_output=True).stdout)


@of_glibc
def test_freed_memory_is_used_again():
    _, again, given_back, *in_thread = faults()
    assert max(again, *in_thread) < 100
    assert given_back > PAGES / 512  # fewer only where pages are huge


@of_glibc
@pytest.mark.parametrize(
    "variables",
    [
        {"MALLOC_ARENA_MAX": "8"},
        {"GLIBC_TUNABLES": "glibc.malloc.check=0:glibc.malloc.trim_threshold=131072"},
    ],
)
def test_settings_of_the_user_stay(variables):
    assert min(faults(**variables)) >= PAGES / 512


# Prints the heaps of malloc after a second thread has asked for memory.
HEAPS = """
import ctypes, sys, threading
from cnnjax.devices import allocator
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fflush.argtypes = [ctypes.c_void_p]
allocator.suit_heaps(int(sys.argv[1]))
thread = threading.Thread(target=libc.malloc, args=[1000])
thread.start()
thread.join()
stream = libc.fdopen(1, b"w")
libc.malloc_info(0, stream)
libc.fflush(stream)
"""


@of_glibc
@pytest.mark.parametrize(
    ("pixels", "heaps"),
    [(allocator.FEW_PIXELS, 2), (allocator.FEW_PIXELS + 1, 1)],
)
def test_threads_have_heaps_of_their_own_where_pieces_are_small(pixels, heaps):
    run = [sys.executable, "-c", HEAPS, str(pixels)]
    out = subprocess.run(run, env=plain_environment(), capture_output=True).stdout
    assert out.count(b"<heap nr=") == heaps


def test_heaps_of_the_user_stay(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "3")
    assert not allocator.suit_heaps(1)


def test_other_settings_are_no_choice():
    assert not allocator._is_chosen({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"})
    assert not allocator._is_chosen({})


def test_without_glibc_nothing_is_set(monkeypatch):
    def unknown(name):
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "confstr", unknown)
    assert not allocator.keep_memory()


def test_with_accelerators_nothing_is_set(monkeypatch):
    monkeypatch.setattr(allocator, "ACCELERATORS", ("json",))
    assert allocator._is_for_cpu({"JAX_PLATFORMS": "cpu"})
    for platforms in ({}, {"JAX_PLATFORMS": "cuda,cpu"}):
        assert not allocator._is_for_cpu(platforms)
