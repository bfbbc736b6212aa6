"""Weights of a small net, drawn once per session."""

import functools

import pytest

from cnnjax import interop
from cnnjax.interop import convert, net
from tests.interop.small_weights import NAME, SOURCE, drawn


@pytest.fixture(scope="session", autouse=True)
def traced_once():
    """Each test converts the same net several times, and a deep one takes seconds."""
    slots_of = net.slots_of
    net.slots_of = functools.lru_cache(maxsize=32)(convert.slots_of)
    yield
    net.slots_of = slots_of


@pytest.fixture(scope="session")
def variables():
    return drawn(NAME)


@pytest.fixture(scope="session")
def whole(variables):
    return interop.to_torch(NAME, variables, source=SOURCE)


@pytest.fixture
def state_dict(whole):
    """A fresh copy that a test may change."""
    return dict(whole)
