import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cnnjax.errors import UserError
from cnnjax.records import read_metrics
from cnnjax.run.metrics import MetricsWriter


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


def test_full_disk_is_one_sentence(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with (
        MetricsWriter(tmp_path, tensorboard=False) as writer,
        pytest.raises(UserError, match=r"cannot write .*No space left on device"),
    ):
        writer.write(row(1))


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
