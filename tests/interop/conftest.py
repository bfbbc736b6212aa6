"""Weights of a small net, drawn once per session."""

import pytest

from cnnjax import interop
from tests.interop.small_weights import NAME, SOURCE, drawn


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
