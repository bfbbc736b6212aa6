"""What Orbax reads of every checkpoint on opening their folder, damaged or made up."""

import json
import shutil

import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.run.checkpoints.damaged import DamagedError
from cnnjax.run.checkpoints.manager import Checkpoints
from cnnjax.run.checkpoints.of_orbax import NAME, check_metadata
from tests.record_fuzz import edits, text_of

TREE = {"a": np.arange(6.0)}
ODD = ["[" * 200_000, '{"a":' * 100_000, "[]", '{"commit_timestamp_nsecs": "x"}']


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "checkpoints"
    with Checkpoints(folder, keep_last=2) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, TREE, {"step": step})
    return folder


@pytest.mark.parametrize("text", ODD, ids=["brackets", "braces", "list", "text"])
def test_it_is_damage_before_orbax_fails_on_it(two_steps, tmp_path, text):
    folder, warned = shutil.copytree(two_steps, tmp_path / "checkpoints"), []
    (folder / "2" / NAME).write_text(text)
    with pytest.raises(UserError, match=rf"/2 cannot be read, because .*{NAME}.*: mov"):
        Checkpoints(folder, keep_last=None)
    with Checkpoints(folder, keep_last=2, warn=warned.append) as checkpoints:
        assert checkpoints.restore_latest(TREE)[0] == 1
    assert len(warned) == 1
    (kept,) = (folder / "damaged").rglob(NAME)
    assert kept.read_text() == text


@pytest.mark.parametrize("content", [None, b"", b"\xff\x00", b"{", b"null", b"{}"])
def test_orbax_does_without_it(two_steps, tmp_path, content):
    folder = shutil.copytree(two_steps, tmp_path / "checkpoints")
    (folder / "2" / NAME).unlink()
    if content is not None:
        (folder / "2" / NAME).write_bytes(content)
    with Checkpoints(folder, keep_last=2, warn=pytest.fail) as checkpoints:
        assert checkpoints.restore_latest(TREE)[0] == 2


def test_every_edit_is_damage_or_orbax_reads_it(two_steps, tmp_path):
    """Orbax's own reader is the witness, of what we let pass."""
    from orbax.checkpoint._src.metadata import checkpoint as theirs

    path = tmp_path / NAME
    whole = json.loads((two_steps / "2" / NAME).read_text())
    passed = 0
    for what, edited in edits(whole):
        path.write_text(text_of(edited()), errors="surrogatepass")
        try:
            check_metadata(tmp_path)
        except DamagedError:
            continue
        passed += 1
        try:
            theirs.metadata_store(enable_write=False).read(path)
        except Exception as error:
            raise AssertionError(what) from error
    assert passed > 10
