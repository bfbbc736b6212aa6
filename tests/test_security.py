"""Each promise of SECURITY.md names a test that is there."""

import re

import pytest

from tests.programs import ROOT

TEXT = (ROOT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", TEXT)))


@pytest.mark.parametrize("named", NAMED)
def test_what_holds_a_promise_is_there(named):
    path, _, function = named.partition("::")
    assert (ROOT / path).exists()
    assert not function or f"def {function}(" in (ROOT / path).read_text()


def test_every_promise_has_a_test():
    rows = [line for line in TEXT.splitlines() if line.startswith("| ")]
    assert len(rows) > 10
    assert all("`tests/" in row for row in rows[1:])
