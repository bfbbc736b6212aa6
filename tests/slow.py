"""Cases of a loop that `-m slow` adds to those of the default tests."""

import pytest


def slow(*values):
    """A case that repeats what another one shows."""
    return pytest.param(*values, marks=pytest.mark.slow)


def slow_but(few, cases):
    """Parameters of one value: all are slow but a few, which stand for the others."""
    return [case if case in few else slow(case) for case in cases]
