import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.records import no_run, read_json, read_metrics, write_json


def test_json_round_trip_keeps_non_finite_numbers(tmp_path):
    path = tmp_path / "deep" / "result.json"
    value = {"nan": math.nan, "up": math.inf, "down": [-math.inf, 1.5], "reason": None}
    write_json(path, value)
    again = read_json(path)
    assert math.isnan(again.pop("nan"))
    assert again == {"up": math.inf, "down": [-math.inf, 1.5], "reason": None}
    # Legal for any JSON reader: none of the bare words that only Python accepts.
    json.loads(path.read_text(), parse_constant=pytest.fail)


def test_array_scalars_become_numbers(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": np.float32(0.5), "b": np.int64(3), "c": np.arange(2)})
    assert read_json(path) == {"a": 0.5, "b": 3, "c": [0, 1]}


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_written_file_is_as_readable_as_any_other(tmp_path):
    write_json(tmp_path / "a.json", {})
    (tmp_path / "b.json").touch()
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "b.json").stat().st_mode


def test_impossible_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*file.*--workdir"):
        write_json(tmp_path / "file" / "a.json", {})


@pytest.mark.parametrize("content", [None, "{", "[1,"])
def test_unreadable_json_is_one_sentence(tmp_path, content):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"a\.json"):
        read_json(path)


def test_metrics_reader_skips_a_torn_last_line_only(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    path.write_text('{"step": 1}\n{"step": 2, "loss": "NaN"}\n{"step": 3, "lo')
    rows = read_metrics(path)
    assert [row["step"] for row in rows] == [1, 2]
    assert math.isnan(rows[1]["loss"])
    path.write_text('{"step": 1}\n{"ste\n{"step": 3}\n')
    with pytest.raises(UserError, match="line 2 of"):
        read_metrics(path)


def test_records_need_no_jax():
    code = "import sys, cnnjax.records; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


BOTH = ("plan.json", "config.json")


def test_a_folder_that_is_no_run_says_what_it_is_and_what_is_near(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/degradation/laptop/plain-8/seed-0", "notes"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "runs/degradation/laptop/plan.json").touch()
    (tmp_path / "runs/degradation/laptop/plain-8/config.json").touch()
    (tmp_path / "notes/today.txt").touch()

    def said(workdir, marks=BOTH):
        return str(no_run(workdir, "a run", marks))

    assert "(there is no such folder seen from /" in said("gone")
    assert said("notes").startswith("notes holds no run (neither plan.json nor config")
    assert "such as" not in said("notes")
    assert "(it is a file)" in said("notes/today.txt")
    assert "/gone holds no run (there is no such folder):" in said(tmp_path / "gone")
    laptop = "runs/degradation/laptop"
    assert said("runs/degradation").endswith(f", such as {laptop} or {laptop}/plain-8")
    assert said("runs").endswith(f", such as {laptop}")
    assert said(f"{laptop}/plain-8/seed-0").endswith(f", such as {laptop}/plain-8")
    assert said(f"{laptop}s").endswith(f", such as {laptop}")  # a slip of the finger
    assert said(laptop, ("config.json",)).endswith(f", such as {laptop}/plain-8")
    assert "(no plan.json)" in said(laptop, ("plan.json",))


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"/file is a file, not a folder.*--workdir"):
        write_json(tmp_path / "file" / "arm" / "config.json", {})
