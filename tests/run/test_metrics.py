import errno
import math
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cnnjax.errors import UserError
from cnnjax.lock import LOCK, locked
from cnnjax.records import read_metrics
from cnnjax.run.curves import Curves
from cnnjax.run.metrics import MetricsWriter
from cnnjax.training.step import METRICS


def row(step, **more):
    return {"kind": "train", "step": step, "epoch": step / 10, "loss": 1 / step, **more}


def test_rows_come_back(tmp_path):
    rows = [row(1), row(2, loss=math.inf), row(3, grad_norm=np.float32(0.5))]
    with MetricsWriter(tmp_path / "seed-0", tensorboard=False) as writer:
        for one in rows:
            writer.write(one)
    assert read_metrics(tmp_path / "seed-0" / "metrics.jsonl") == rows
    assert os.listdir(tmp_path / "seed-0") == ["metrics.jsonl"]


def test_rows_can_be_read_while_the_writer_is_open(tmp_path):
    with MetricsWriter(tmp_path, tensorboard=False) as writer:
        writer.write(row(1))
        assert read_metrics(writer.path) == [row(1)]


@pytest.mark.parametrize("torn", ["", '{"kind": "tra', '{"step": 2}'])
def test_opening_repairs_a_torn_last_line(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + torn)
    with MetricsWriter(tmp_path, tensorboard=False) as writer:
        writer.write({"step": 2})
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_truncate_after_drops_later_rows_and_goes_on(tmp_path):
    with MetricsWriter(tmp_path, tensorboard=False) as writer:
        for step in range(1, 6):
            writer.write(row(step))
    with MetricsWriter(tmp_path, tensorboard=False) as writer:
        writer.truncate_after(3)
        writer.write(row(4, loss=7.0))
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        *map(row, [1, 2, 3]),
        row(4, loss=7.0),
    ]


def refusing(fits, number=errno.ENOSPC):
    """An `os.write` for which some content does not fit, half of it written."""
    write = os.write

    def refuse(file, content):
        if fits(content):
            return write(file, content)
        if len(content) > 8:
            return write(file, content[:8])
        raise OSError(number, os.strerror(number))

    return refuse


def test_full_disk_is_one_sentence(tmp_path, monkeypatch):
    with MetricsWriter(tmp_path, tensorboard=False) as writer:
        writer.write(row(1))
        monkeypatch.setattr(os, "write", refusing(lambda content: False))
        with pytest.raises(UserError, match=r"cannot write .*No space left on device"):
            writer.write(row(2))
    assert read_metrics(tmp_path / "metrics.jsonl") == [row(1)]


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_only_a_file_of_its_own_is_written(tmp_path, kind):
    path, other = tmp_path / "run" / "metrics.jsonl", tmp_path / "other"
    path.parent.mkdir()
    if kind == "link":
        other.write_text("half a line")
    if "link" in kind:
        path.symlink_to(other)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(UserError, match="not a file of its own"):
        MetricsWriter(path.parent, tensorboard=False)
    assert not other.exists() or other.read_text() == "half a line"


# A limit on the file's size cuts a write in the middle, as a disk filling up does.
FULL_IN_THE_MIDDLE = """
import resource, signal, sys
from cnnjax.errors import UserError
from cnnjax.run.metrics import MetricsWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
writer = MetricsWriter(sys.argv[1], tensorboard=False)
try:
    for step in range(100):
        writer.write({"kind": "train", "step": step})
except UserError as error:
    sys.exit(f"refused: {error}")
"""


def test_disk_filling_up_in_the_middle_of_a_line_leaves_whole_lines(tmp_path):
    command = [sys.executable, "-c", FULL_IN_THE_MIDDLE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr.startswith("refused: cannot write")
    content = (tmp_path / "metrics.jsonl").read_text()
    assert content.endswith("}\n")
    assert [r["step"] for r in read_metrics(tmp_path / "metrics.jsonl")] == [0, 1, 2]


def test_impossible_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        MetricsWriter(tmp_path / "file" / "seed-0", tensorboard=False)


ENDLESS = """
import sys
from cnnjax.run.metrics import MetricsWriter
writer = MetricsWriter(sys.argv[1], tensorboard=False)
for step in range(10**9):
    writer.write({"kind": "train", "step": step, "filler": "x" * (step % 5000)})
"""


def test_after_a_kill_all_lines_but_the_last_are_whole(tmp_path):
    """The kernel may end a write at the border of a page, so the last may be cut."""
    path = tmp_path / "metrics.jsonl"
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)])
        deadline = time.monotonic() + 30
        while not path.exists() or path.stat().st_size < 10**5:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        steps = [r["step"] for r in read_metrics(path)]
        assert steps == list(range(len(steps)))
        with MetricsWriter(tmp_path, tensorboard=False) as writer:
            writer.write(row(len(steps)))
        assert path.read_bytes().endswith(b"}\n")
        assert [r["step"] for r in read_metrics(path)] == [*steps, len(steps)]
        path.unlink()


def test_tensorboard_shows_one_curve_over_a_resume(tmp_path):
    with MetricsWriter(tmp_path, tensorboard=True) as writer:
        for step in (1, 2, 3):
            writer.write(row(step, loss=np.float32(step)))
    with MetricsWriter(tmp_path, tensorboard=True) as writer:
        writer.truncate_after(2)
        writer.write(row(3, loss=30.0))
        writer.write(row(4, loss=math.nan))
        writer.write({"kind": "eval", "split": "test", "step": 4, "error": 50.0})
    events = EventAccumulator(str(tmp_path)).Reload()
    points = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert points == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert [event.value for event in events.Scalars("test/error")] == [50.0]


def test_events_can_be_read_while_the_writer_is_open(tmp_path):
    with MetricsWriter(tmp_path, tensorboard=True) as writer:
        writer.write(row(1))
        assert threading.enumerate() == [threading.main_thread()]
        events = EventAccumulator(str(tmp_path)).Reload()
        assert [event.value for event in events.Scalars("train/loss")] == [1.0]


def is_row(content):
    return content.startswith(b"{")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("fitting", [0, 1, 3])
def test_where_events_cannot_be_written_the_run_goes_on(
    tmp_path, monkeypatch, number, fitting
):
    """Hundreds of rows, more than any queue holds: nothing waits for anything."""
    events, said = [], []

    def fits(content):
        events.append(None if is_row(content) else content)
        return is_row(content) or sum(e is not None for e in events) <= fitting

    monkeypatch.setattr(os, "write", refusing(fits, number))
    with MetricsWriter(tmp_path, tensorboard=True, warn=said.append) as writer:
        for step in range(1, 300):
            writer.write(row(step))
    monkeypatch.undo()
    assert read_metrics(writer.path) == [row(step) for step in range(1, 300)]
    (sentence,) = said
    assert os.strerror(number) in sentence
    assert "training goes on" in sentence
    # What was written before is whole, and the next run writes on.
    with MetricsWriter(tmp_path, tensorboard=True, warn=pytest.fail) as writer:
        writer.truncate_after(300)
        writer.write(row(301))
    found = EventAccumulator(str(tmp_path)).Reload().Scalars("train/loss")
    assert [event.step for event in found] == [*range(1, fitting), 301]


def test_a_folder_that_takes_no_event_file(tmp_path, monkeypatch):
    said, opened = [], os.open

    def refuse(path, *args, **more):
        if "tfevents" in str(path):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(path, *args, **more)

    monkeypatch.setattr(os, "open", refuse)
    with MetricsWriter(tmp_path, tensorboard=True, warn=said.append) as writer:
        writer.write(row(1))
        writer.write(row(2))
    assert len(read_metrics(writer.path)) == 2
    assert len(said) == 1


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_one_curve_over_a_resume_whatever_the_clock_says(tmp_path, monkeypatch, jump):
    """TensorBoard reads files in the order of their names, which tell the time."""
    now = time.time()
    for attempt in range(3):
        monkeypatch.setattr(time, "time", lambda: now + attempt * jump)  # noqa: B023
        with MetricsWriter(tmp_path, tensorboard=True) as writer:
            writer.truncate_after(attempt)
            for step in range(attempt + 1, attempt + 4):
                writer.write(row(step, loss=float(10 * attempt + step)))
    found = EventAccumulator(str(tmp_path)).Reload().Scalars("train/loss")
    points = [(event.step, event.value) for event in found]
    assert points == [(1, 1.0), (2, 12.0), (3, 23.0), (4, 24.0), (5, 25.0)]


def test_numbers_beyond_those_of_an_event(tmp_path):
    with MetricsWriter(tmp_path, tensorboard=True) as writer:
        writer.write(row(2**40, loss=1e300, error=-1e300, count=10**30))
        writer.write(row(2**40 + 1, loss=1e-300))
    (first, last) = EventAccumulator(str(tmp_path)).Reload().Scalars("train/loss")
    assert (first.value, last.value) == (math.inf, 0.0)


def test_no_tag_has_two_meanings(tmp_path):
    """The running loss of training is no point of the curve of its evaluation."""
    rows = [row(1, loss=2.0, error=50.0), row(2, loss=1.0, error=40.0)]
    for number, split in enumerate(("train", "validation", "test")):
        rows.append(row(2, kind="eval", split=split, loss=3.0 + number, error=number))
    with MetricsWriter(tmp_path, tensorboard=True) as writer:
        for one in rows:
            writer.write(one)
    events = EventAccumulator(str(tmp_path)).Reload()
    curves = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag.endswith("/loss")
    }
    assert curves == {
        "train/loss": [(1, 2.0), (2, 1.0)],
        "train_eval/loss": [(2, 3.0)],
        "validation/loss": [(2, 4.0)],
        "test/loss": [(2, 5.0)],
    }
    assert [e.value for e in events.Scalars("train/error")] == [50.0, 40.0]
    assert [e.value for e in events.Scalars("train_eval/error")] == [0.0]


def test_a_run_of_several_seeds_warns_of_its_events_once(tmp_path, monkeypatch):
    said = []
    run = SimpleNamespace(
        seeds=(0, 1, 2),
        steps_per_epoch=10,
        log=SimpleNamespace(tensorboard=True),
        schedule=lambda step: 0.1,
    )
    folder = SimpleNamespace(
        seed_folder=lambda seed: tmp_path / f"seed-{seed}",
        has_result=lambda seed: False,
    )
    curves = Curves(run, folder, said.append)
    curves.open(0)
    curves.add(dict.fromkeys(METRICS, np.ones((2, 3, 1))))
    monkeypatch.setattr(os, "write", refusing(is_row))
    curves.write_train(1, np.zeros(3, bool))
    curves.close()
    assert len(said) == 1
    for seed in run.seeds:
        assert len(read_metrics(tmp_path / f"seed-{seed}" / "metrics.jsonl")) == 1


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_file_that_cannot_be_read_is_no_failure_to_write(
    tmp_path, monkeypatch, number
):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pread", refuse)
    reason = f"cannot read .*jsonl: {os.strerror(number)}; see to that disk"
    with pytest.raises(UserError, match=reason):
        MetricsWriter(tmp_path, tensorboard=False)


def test_a_lock_that_cannot_be_read_is_no_failure_to_write(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr("cnnjax.lock.open_regular", refuse)
    with (
        pytest.raises(UserError, match=r"cannot read .*/\.lock: Stale.*; see to that"),
        locked(tmp_path / LOCK, "it is in use"),
    ):
        pass
