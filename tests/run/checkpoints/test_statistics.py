"""Re-estimated statistics beside the checkpoints."""

import errno
import os
from types import SimpleNamespace

import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.run.checkpoints import restore
from cnnjax.run.checkpoints.restore import (
    STATISTICS,
    read_statistics,
    save_statistics,
)

KEPT = {"batch_stats": {"norm1": {"mean": np.arange(8, dtype=np.float32)}}}


@pytest.fixture
def folder(tmp_path):
    run = SimpleNamespace(
        parallel=SimpleNamespace(to_host=lambda tree: tree), declared={"params": {}}
    )
    save_statistics(tmp_path, run, 9, {"final": KEPT, "best": None})
    return tmp_path


def test_they_come_back_for_their_step(folder):
    kept = read_statistics(folder, "final", 9)
    np.testing.assert_array_equal(kept["batch_stats.norm1.mean"], np.arange(8))
    assert read_statistics(folder, "final", 8) is None
    assert read_statistics(folder, "best", 9) is None
    assert read_statistics(folder / "gone", "final", 9) is None


def test_no_flipped_bit_is_taken_for_what_was_kept(folder):
    path = folder / STATISTICS
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            kept = read_statistics(folder, "final", 9)
        except UserError as error:
            assert "damaged" in str(error)  # noqa: PT017
            continue
        if kept is not None:
            np.testing.assert_array_equal(kept["batch_stats.norm1.mean"], np.arange(8))


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_one_sentence(folder, kind):
    path = folder / STATISTICS
    path.unlink()
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with pytest.raises(UserError, match="not a file"):
        read_statistics(folder, "final", 9)


@pytest.mark.parametrize("name", ["EACCES", "EIO", "ESTALE", "ETIMEDOUT"])
def test_what_cannot_be_read_now_is_not_missing(folder, monkeypatch, name):
    number = getattr(errno, name)

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(restore, "open_regular", refuse)
    with pytest.raises(UserError, match=f"cannot read .*{os.strerror(number)}"):
        read_statistics(folder, "final", 9)
