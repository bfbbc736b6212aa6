"""Disks that are full, broken or closed, at any call of the system."""

import random

import pytest

from tests.chaos.training import assert_ends_well, assert_resumes

pytestmark = pytest.mark.slow

FAULTS = [
    *[(call, "ENOSPC") for call in ("create", "write", "mkdir", "rename", "sync")],
    ("write", "EDQUOT"),
    ("write", "EIO"),
    ("sync", "EIO"),
    ("create", "EACCES"),
    ("rename", "EROFS"),
]


def places(num_calls, seed):
    """One of the first calls, one of the last, and two in between."""
    draw = random.Random(seed)
    few = min(8, num_calls)
    within = draw.sample(range(num_calls), 2)
    return sorted({draw.randrange(few), num_calls - 1 - draw.randrange(few), *within})


@pytest.mark.parametrize(("call", "name"), FAULTS)
def test_a_disk_that_takes_no_more(faults, faulty, whole, here, call, name):
    faults.fail(here, (call,), name, first=10**8)
    assert assert_ends_well(faulty, here).code == 0
    num_calls = faults.num_calls()
    assert num_calls > 4
    for first in places(num_calls, f"{name} {call}"):
        folder = here / str(first)
        folder.mkdir()
        faults.fail(folder, (call,), name, first)
        assert_ends_well(faulty, folder)
        faults.none()
        assert_resumes(faulty, folder, whole)
