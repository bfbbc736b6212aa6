"""The report of a single run, written from files alone."""

import csv
import json
import shutil

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from cnnjax.ablation.execute.status import read_cells
from cnnjax.ablation.report import training
from cnnjax.ablation.report.training import (
    is_training,
    print_training,
    read_training,
    write_training_report,
)
from cnnjax.config import digest, to_dict
from cnnjax.errors import UserError
from cnnjax.records import read_json, write_json
from cnnjax.seal import sealed
from configs import base
from tests.ablation.synthetic_sweep import edit_result, write_sweep

SEEDS = (0, 1, 2)


@pytest.fixture
def run(tmp_path):
    """One cell of an ablation, which has the layout of a single run."""
    write_sweep(tmp_path / "sweep", seeds=SEEDS)
    folder = tmp_path / "my run"
    shutil.copytree(tmp_path / "sweep" / "residual-20", folder)
    config = base.get_config()
    config.seeds.count = len(SEEDS)
    write_json(folder / "config.json", to_dict(config))
    for seed in SEEDS:
        edit_result(folder / f"seed-{seed}", config_hash=digest(config))
    return folder


def results(run):
    paths = [run / f"seed-{seed}" / "result.json" for seed in SEEDS]
    return [json.loads(path.read_text()) for path in paths]


def screen(run):
    console = Console(record=True, width=100)
    print_training(run, console)
    return console.export_text()


def test_tables_hold_what_the_results_say(run):
    edit = results(run)[1]["final"]
    edit["test"]["error"] = 12.5
    edit_result(run / "seed-1", final=edit)
    page, text, table, *pictures = write_training_report(run)
    errors = [result["final"]["test"]["error"] for result in results(run)]
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["test_error"]) for row in rows] == errors
    low, high = stats.t.interval(
        0.95, len(SEEDS) - 1, np.mean(errors), stats.sem(errors)
    )
    mean = f"{np.mean(errors):.2f} ± {(high - low) / 2:.2f}"
    for written in (page, text):
        content = written.read_text()
        assert "12.50" in content
        assert mean in content
        assert "resnet20_cifar on cifar10, 64,000 steps of 128 images" in content
        assert "not real images" in content  # from the provenance
        assert "optimizer.weight_decay" in content
    assert "3 of 3 seeds done" in screen(run)
    assert {p.suffix for p in pictures} == {".png", ".svg"}
    assert all(p.stat().st_size > 1000 for p in pictures)
    assert (
        page.read_text().count("<svg") == 2
    )  # error and loss, without the learning rate


@pytest.mark.parametrize(
    ("key", "value"),
    [("config_hash", "other"), ("data_fingerprint", "other"), ("seed", 2)],
)
def test_the_seed_of_another_training_does_not_count(run, key, value):
    """It was averaged with the others; its digests are intact."""
    assert [cell.status for cell in read_cells(run)] == ["done"]
    edit_result(run / "seed-0", **{key: value})
    path = run / "seed-0/result.json"
    write_json(path, sealed(read_json(path), run / "seed-0/metrics.jsonl"))
    training = read_training(run)
    assert [row.status for row in training.rows] == ["excluded", "done", "done"]
    assert str(value) in training.rows[0].reason
    assert {seed for seed, _ in training.points} == {1, 2}
    assert "2 of 3 seeds done" in screen(run)
    (cell,) = read_cells(run)
    assert cell.status == "failed"
    assert f"seed 0 has a result that is not its own: {key} {value}" in cell.note


def test_the_config_of_another_training(run):
    config = read_json(run / "config.json")
    config["optimizer"]["weight_decay"] = 0.5
    write_json(run / "config.json", config)
    assert {row.status for row in read_training(run).rows} == {"excluded"}
    assert read_cells(run)[0].status == "failed"


def test_a_failed_and_an_unfinished_seed_are_shown(run):
    edit_result(run / "seed-1", status="failed", reason="the loss became <infinite>")
    (run / "seed-2" / "result.json").unlink()
    (run / "progress.json").write_text(
        json.dumps({"status": "stopped", "step": 120, "total_steps": 440})
    )
    page, text, *_ = write_training_report(run)
    said = screen(run) + text.read_text()
    for words in (
        "1 of 3 seeds done; interrupted, step 120 of 440",
        "seed 1 failed: the",
    ):
        assert said.count(words) == 2
    assert "| 2 | not finished |" in text.read_text()
    assert "&lt;infinite&gt;" in page.read_text()
    assert "mean ± 95%" not in text.read_text()


def test_a_training_without_any_row_yet(run):
    for seed in SEEDS:
        shutil.rmtree(run / f"seed-{seed}")
    page, text, _, *pictures = write_training_report(run)
    assert "No seed has finished yet" in page.read_text()
    assert "0 of 3 seeds done; waiting, step 0" in text.read_text()
    assert pictures == []


def test_rows_that_a_resume_wrote_again_and_infinite_ones(run):
    """The last row of a step counts, and values that are not finite leave a gap."""
    with (run / "seed-0" / "metrics.jsonl").open("a") as file:
        for error in (70.0, 71.0):
            row = {"kind": "train", "step": 22, "epoch": 1.0, "error": error}
            file.write(json.dumps(row | {"loss": "NaN"}) + "\n")
        file.write('{"kind": "tra')
    assert read_training(run).points[0, "running"][22]["error"] == 71.0
    assert write_training_report(run)[0].is_file()


def test_a_cut_config_and_rows_without_an_epoch(run):
    config = read_json(run / "config.json")
    config["train"] = {"batch_size": 64}
    write_json(run / "config.json", config)
    rows = [json.dumps({"step": n, "kind": "train", "error": 3.0}) for n in (1, 2)]
    (run / "seed-0" / "metrics.jsonl").write_text("\n".join([*rows, ""]))
    _, text, *_ = write_training_report(run)
    assert "an unknown number of" in text.read_text()


def test_a_damaged_config_is_one_sentence(run):
    (run / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json"):
        write_training_report(run)


def test_what_is_a_training(run, tmp_path):
    assert is_training(run)
    assert not is_training(tmp_path / "sweep")
    with pytest.raises(UserError, match=r"neither plan.json.*such as .*my run.*sweep"):
        is_training(tmp_path)


def test_a_folder_and_a_command_that_are_not_utf_8(run):
    """Bytes of a name that are not UTF-8 are escaped, on the screen and in files."""
    odd = run.rename(run.with_name("run \udcff"))
    provenance = odd / "provenance.json"
    known = json.loads(provenance.read_text()) if provenance.is_file() else {}
    provenance.write_text(json.dumps(known | {"command": "train --workdir=\udcff"}))
    edit_result(odd / "seed-0", status="failed", reason="cannot read \udcff")
    page, text, table, *_ = write_training_report(odd)
    for file in (page, text):
        assert "run \\xff" in file.read_text("utf-8")
        assert "--workdir=\\xff" in file.read_text("utf-8")
    assert "cannot read \\xff" in table.read_text("utf-8")
    assert "run \\xff" in screen(odd)


@pytest.mark.parametrize("name", ["report.md", "results.csv", "plots/error.png"])
def test_a_file_of_the_user_is_never_replaced(run, name):
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text("mine")
    with pytest.raises(
        UserError, match=f"has a {name.split('/')[0]} that no run wrote"
    ):
        write_training_report(run)
    assert (run / name).read_text() == "mine"
    assert not (run / "report.html").exists()


def test_what_a_killed_report_left_is_replaced(run, monkeypatch):
    monkeypatch.setattr(training, "save_groups", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_training_report(run)
    monkeypatch.undo()
    assert "is being written" in (run / "report.html").read_text()
    (run / "plots" / "curves.png").write_text("half")
    page = write_training_report(run)[0]
    assert "is being written" not in page.read_text()


def test_the_error_and_its_curve_come_first(run):
    page, text, *_ = (path.read_text() for path in write_training_report(run)[:2])
    errors = [result["final"]["test"]["error"] for result in results(run)]
    for written, parts in (
        (page, ("<h1>", "Test error", "<svg", "<h2>Seeds", "<h2>More curves")),
        (text, ("# my run", "**Test error", "plots/curves.png", "## Seeds")),
    ):
        places = [written.index(part) for part in parts]
        assert places == sorted(places)
        assert f"Test error {np.mean(errors):.2f} ±" in written
