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


def test_no_program_is_started_that_looks_into_the_current_folder():
    """Without -P or -I, a `jax.py` there would run in place of the package."""
    started = re.compile(r"\[\s*sys\.executable,\s*\"(-\w+)\"")
    found = {}
    for folder in ("cnnjax", "experiments"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text("utf-8")
            flags = started.findall(text)
            assert len(flags) == text.count("[sys.executable"), path
            found[str(path.relative_to(ROOT))] = flags
    starts = {file for file, flags in found.items() if flags}
    assert {"cnnjax/onednn/check.py", "experiments/atlas.py"} <= starts
    assert {flag for flags in found.values() for flag in flags} <= {"-P", "-I"}
