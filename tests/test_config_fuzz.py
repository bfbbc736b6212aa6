"""Any change of a config gives a run, or one sentence before anything starts."""

import pytest

from cnnjax.run.setup import Run
from tests.config_fuzz import QUICK, STARTS, run_case

SEED = 13

# ml_collections issues it when it reads a config file.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module.*:DeprecationWarning")


def troubles(count, starts):
    """Failures with their changes, and the number of runs that were built."""
    found, num_runs = [], 0
    for number in range(count):
        case = run_case(SEED, number, starts)
        num_runs += isinstance(case.outcome, Run)
        if trouble := case.trouble():
            found.append(f"seed {SEED}, {case}: {trouble}")
    return found, num_runs


def test_thirty_changes():
    found, num_runs = troubles(30, QUICK)
    assert not found, "\n".join(found)
    # If all changes were refused, or all accepted, the test would show nothing.
    assert 2 < num_runs < 20


@pytest.mark.slow
def test_a_thousand_changes():
    found, num_runs = troubles(1000, STARTS)
    assert not found, "\n".join(found)
    assert 100 < num_runs < 700
