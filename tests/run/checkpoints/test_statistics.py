"""Re-estimated statistics beside the checkpoints."""

import errno
import os
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy

from cnnjax.errors import UserError
from cnnjax.run.checkpoints import restore
from cnnjax.run.checkpoints.restore import (
    STATISTICS,
    read_statistics,
    save_statistics,
)

IDENTITY = {"config_hash": "0123456789ab", "data_fingerprint": "0123456789abcdef"}
OURS = {**IDENTITY, "seeds": "0 1"}
KEPT = {"batch_stats": {"norm1": {"mean": np.arange(8, dtype=np.float32)}}}


@pytest.fixture
def folder(tmp_path):
    run = SimpleNamespace(
        parallel=SimpleNamespace(to_host=lambda tree: tree),
        declared={"params": {}},
        seeds=range(2),
    )
    of_run = SimpleNamespace(path=tmp_path, run=run, identity=IDENTITY)
    save_statistics(of_run, 9, {"final": KEPT, "best": None})
    return tmp_path


def test_they_come_back_for_their_step(folder):
    kept = read_statistics(folder, "final", 9, OURS)
    np.testing.assert_array_equal(kept["batch_stats.norm1.mean"], np.arange(8))
    assert read_statistics(folder, "final", 8, OURS) is None
    assert read_statistics(folder, "best", 9, OURS) is None
    assert read_statistics(folder / "gone", "final", 9, OURS) is None


@pytest.mark.parametrize("key", OURS)
def test_those_of_another_run_are_refused(folder, key):
    """Another arm, other data or further seeds give leaves of equal shapes."""
    with pytest.raises(UserError, match=f"is not of this run .{key} .*, not other"):
        read_statistics(folder, "final", 9, OURS | {key: "other"})


def test_those_of_an_earlier_version_are_read(folder):
    path = folder / STATISTICS
    with safetensors.safe_open(path, "numpy") as file:
        about = {k: v for k, v in file.metadata().items() if k not in OURS}
        leaves = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    safetensors.numpy.save_file(leaves, path, about)
    assert read_statistics(folder, "final", 9, OURS) is not None


def test_no_flipped_bit_is_taken_for_what_was_kept(folder):
    path = folder / STATISTICS
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            kept = read_statistics(folder, "final", 9, OURS)
        except UserError as error:
            assert "damaged" in str(error) or "of this run" in str(error)  # noqa: PT017
            continue
        if kept is not None:
            np.testing.assert_array_equal(kept["batch_stats.norm1.mean"], np.arange(8))


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_one_sentence(folder, kind):
    path = folder / STATISTICS
    path.unlink()
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with pytest.raises(UserError, match="not a file"):
        read_statistics(folder, "final", 9, OURS)


@pytest.mark.parametrize("name", ["EACCES", "EIO", "ESTALE", "ETIMEDOUT"])
def test_what_cannot_be_read_now_is_not_missing(folder, monkeypatch, name):
    number = getattr(errno, name)

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(restore, "open_regular", refuse)
    with pytest.raises(UserError, match=f"cannot read .*{os.strerror(number)}"):
        read_statistics(folder, "final", 9, OURS)
