"""Which errors of reading are damage: those of the data, and no others."""

import errno
import json
import os
from concurrent.futures.process import BrokenProcessPool

import jax
import orbax.checkpoint as ocp
import pytest

from cnnjax.errors import UserError
from cnnjax.run.checkpoints.manager import Checkpoints
from tests.run.checkpoints.test_damaged import TREE, contents, two_steps

__all__ = ["two_steps"]  # a fixture

REFUSALS = ("EACCES", "EPERM", "EIO", "ESTALE", "ETIMEDOUT", "EMFILE", "ENOMEM")
FORMS = {
    "Python": lambda number: OSError(number, os.strerror(number)),
    "behind another": lambda number: chained(OSError(number, os.strerror(number))),
    "TensorStore": lambda number: ValueError(f"Failed: x [os_error_code='{number}']"),
    "an earlier one": lambda number: ValueError(f"Failed [OS error {number}: x]"),
}


def chained(error):
    try:
        raise KeyError("item") from error
    except KeyError as behind:
        return behind


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("form", FORMS)
def test_an_error_that_has_passed_is_no_damage_either(
    two_steps, monkeypatch, name, form
):
    """The files are whole again when they are looked at afterwards."""
    number = getattr(errno, name)
    refuse_with(FORMS[form](number), monkeypatch)
    assert_refused(two_steps, os.strerror(number))


def test_a_time_out_without_a_number_is_no_damage_either(two_steps, monkeypatch):
    refuse_with(TimeoutError("Timed out after 300 s"), monkeypatch)
    assert_refused(two_steps, "Timed out after 300 s")


def of_thread():
    return RuntimeError("can't start new thread")


OF_MACHINE = {
    "no thread": of_thread(),
    "behind another": chained(of_thread()),
    "module": ImportError("cannot import name 'zarr'"),
    "no module": ModuleNotFoundError("No module named 'zarr'"),
    "XLA": jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
    "TensorStore": ValueError("RESOURCE_EXHAUSTED: too many"),
    "TensorStore, away": ValueError("UNAVAILABLE: x"),
    "another version": TypeError("got an unexpected keyword argument 'x'"),
    "an attribute": AttributeError("module 'zarr' has no attribute 'open'"),
    "an assertion": AssertionError("no event loop"),
    "a process": BrokenProcessPool("a process has ended"),
}


@pytest.mark.parametrize("case", OF_MACHINE)
def test_what_says_nothing_of_the_data_is_no_damage(two_steps, monkeypatch, case):
    """A healthy checkpoint would be moved away, and training start at 0."""
    refuse_with(OF_MACHINE[case], monkeypatch)
    assert_refused(two_steps, ": .*")


def test_threads_that_the_system_refuses_are_one_sentence(two_steps, monkeypatch):
    def refuse(*_, **__):
        raise of_thread()

    before = contents(two_steps)
    monkeypatch.setattr(ocp.CheckpointManager, "__init__", refuse)
    with pytest.raises(UserError, match="can't start new thread; nothing was changed"):
        Checkpoints(two_steps, keep_last=2)
    assert contents(two_steps) == before


OF_DATA = {
    "JSON": json.JSONDecodeError("Expecting value", "", 0),
    "UTF-8": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "a field": KeyError("tree_metadata"),
    "an item": IndexError("list index out of range"),
    "depth": RecursionError("maximum recursion depth exceeded"),
    "a file": FileNotFoundError("No structure could be identified"),
    "TensorStore": ValueError("DATA_LOSS: checksum"),
    "TensorStore, missing": ValueError("NOT_FOUND: metadata"),
    "Zarr": ValueError('Error opening "zarr" driver: x'),
}


@pytest.mark.parametrize("case", OF_DATA)
def test_what_is_said_of_the_data_is_damage(two_steps, monkeypatch, case):
    refuse_with(OF_DATA[case], monkeypatch)
    said = []
    with Checkpoints(two_steps, keep_last=None, warn=said.append) as checkpoints:
        assert checkpoints.restore_latest(TREE) is None
    assert len(said) == 2
    assert "2 is damaged" in said[0]


def refuse_with(error, monkeypatch):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(ocp.CheckpointManager, "restore", refuse)


def assert_refused(folder, reason):
    before = contents(folder)
    with (
        Checkpoints(folder, keep_last=2, warn=pytest.fail) as checkpoints,
        pytest.raises(UserError, match=f"{reason}; nothing was changed"),
    ):
        checkpoints.restore_latest(TREE)
    assert contents(folder) == before
