"""Records that were edited, damaged or exchanged: one sentence, or a hole and a reason.

Every field of every record of a work folder gets every value of `tests.record_fuzz`,
and every file is replaced by each of its other things. Whoever reads it goes on or
raises a `UserError`, and no number that no run has is ever averaged. By default a few
edits stand for all.
"""

import functools
import json
import random
import tarfile

import pytest

from cnnjax import load_run
from cnnjax.ablation.execute import jobs, status
from cnnjax.ablation.judge.collect import collect, write_csv
from cnnjax.ablation.judge.verdicts import judge
from cnnjax.ablation.plan import earlier_plan
from cnnjax.ablation.report import training
from cnnjax.ablation.report.pages import make_context, render
from cnnjax.errors import UserError
from cnnjax.record_kinds import CHECKPOINT, DATA
from cnnjax.records import read_record, write_json
from cnnjax.run.folder import require_metadata
from cnnjax.run.heartbeat import read_heartbeat, write_heartbeat
from cnnjax.run.single import stored_config
from cnnjax.seal import sealed
from tests.record_fuzz import FILES, edits, text_of
from tests.run.test_earlier_runs import ARCHIVE

ARM = "ablation/residual-14"
JOB = {"job": "123", "attempt": 1, "slot": 0, "host": "elsewhere", "pid": 99, "born": 3}
# By default: edits of a record, other things in the place of its file.
FEW_EDITS, FEW_FILES = 4, 3


def collected(root):
    """What is averaged and judged; no value is one that no run has."""
    sweep = collect(root / "ablation")
    judge(sweep)
    write_csv(sweep, root / "results.csv")
    for name in ("train_error", "test_error", "best_test_error"):
        values = sweep.values(name)["residual-14"]
        assert values.items() <= KNOWN[name].items(), values
        lost = KNOWN[name].keys() - values.keys()
        held = {row.seed: row for row in sweep.rows if row.arm == "residual-14"}
        reasons = [held[seed].reason for seed in lost]
        assert all(reasons) or sweep.warnings
    for curve in sweep.curves:
        assert all(0 <= error <= 100 for error in curve.errors)


def page(root):
    sweep = collect(root / "ablation")
    render("report.md.j2", make_context(sweep), autoescape=False)


def shown(root):
    cells = status.read_cells(root / "ablation")
    status.table(cells)
    assert status.summary(cells)


def of_training(root):
    found = training.read_training(root / ARM)
    render("training.md.j2", training._context(found), autoescape=False)


def configured(root):
    stored_config(root / ARM / "config.json")


def planned(root):
    earlier_plan(root / "ablation")


def launched(root):
    jobs.refuse_other_jobs(root / "ablation", "slurm")


def beating(root):
    read_heartbeat(root / ARM)
    write_heartbeat(root / ARM, "running", step=3)


def loaded(root):
    load_run(root / ARM, "initial", 0)


def counted(root):
    read_record(root / ARM / "data.json", DATA)


# File -> who reads it; the first two also by default.
READERS = {
    f"{ARM}/seed-0/result.json": [collected, shown, of_training, page],
    f"{ARM}/seed-0/metrics.jsonl": [collected, of_training],
    "ablation/plan.json": [collected, shown, planned],
    f"{ARM}/provenance.json": [collected, of_training, page, loaded],
    f"{ARM}/config.json": [shown, of_training, configured],
    f"{ARM}/preprocessing.json": [loaded],
    f"{ARM}/data.json": [counted],
    f"{ARM}/progress.json": [shown, of_training, beating],
    "ablation/launcher/jobs.json": [launched, shown],
}
KNOWN = {}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """An ablation with one finished arm, of which nothing is sealed yet."""
    root = tmp_path_factory.mktemp("records")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(root, filter="data")
    known = {"launcher": "local", "command": ["ablate"], "cells": {"plain-8": JOB}}
    write_json(root / "ablation/launcher/jobs.json", known)
    sweep = collect(root / "ablation")
    for name in ("train_error", "test_error", "best_test_error"):
        KNOWN[name] = sweep.values(name)["residual-14"]
    assert KNOWN["test_error"].keys() == {0, 1}
    return root


def read_by_all(root, file, what, *, few):
    for reader in READERS[file][: 2 if few else None]:
        said = ""
        try:
            reader(root)
        except UserError as error:
            said = str(error)
        except Exception as error:
            raise AssertionError(f"{file}, {what}: {reader.__name__}") from error
        assert "\n" not in said, what


def records_of(path):
    """The whole of a JSON file; of a file of rows the first and the last."""
    if path.suffix == ".json":
        return {"": (json.loads(path.read_text()), lambda record: text_of(record))}
    lines = path.read_text().splitlines()

    def with_line(number, row):
        return "\n".join([*lines[:number], text_of(row), *lines[number:][1:], ""])

    places = {number: functools.partial(with_line, number) for number in (0, -1)}
    return {
        f"line {number}, ": (json.loads(lines[number]), to_text)
        for number, to_text in places.items()
    }


def clear(path):
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def read_edited(root, file, *, few):
    path = root / file
    before = path.read_bytes()
    cases = [
        (what, to_text, record)
        for of, (whole, to_text) in records_of(path).items()
        for what, record in edits(whole, of)
    ]
    if few:
        cases = random.Random(file).sample(cases, FEW_EDITS)
    try:
        for what, to_text, record in cases:
            path.write_text(to_text(record()))
            read_by_all(root, file, what, few=few)
    finally:
        path.write_bytes(before)


def read_exchanged(root, file, *, few):
    path = root / file
    before = path.read_bytes()
    names = random.Random(file).sample(sorted(FILES), FEW_FILES) if few else FILES
    try:
        for what in names:
            clear(path)
            FILES[what](path)
            read_by_all(root, file, what, few=few)
    finally:
        clear(path)
        path.write_bytes(before)


@pytest.mark.parametrize("file", READERS)
def test_a_few_edits(root, file):
    read_edited(root, file, few=True)


@pytest.mark.slow
@pytest.mark.parametrize("file", READERS)
def test_every_edit(root, file):
    read_edited(root, file, few=False)


@pytest.mark.parametrize("file", READERS)
def test_a_few_other_things_in_its_place(root, file):
    read_exchanged(root, file, few=True)


@pytest.mark.slow
@pytest.mark.parametrize("file", READERS)
def test_everything_else_in_its_place(root, file):
    read_exchanged(root, file, few=False)


def test_no_edit_of_a_sealed_result_counts(root):
    """Values that a run may have, but this one has not."""
    path = root / ARM / "seed-0" / "result.json"
    before = path.read_bytes()
    whole = sealed(json.loads(before), path.parent / "metrics.jsonl")
    cases = [record for what, record in edits(whole) if "digest" not in what]
    try:
        for record in random.Random(0).sample(cases, 15):
            path.write_text(text_of(record()))
            (row,) = [
                row
                for row in collect(root / "ablation").rows
                if (row.arm, row.seed) == ("residual-14", 0)
            ]
            assert row.status == "excluded"
    finally:
        path.write_bytes(before)


def test_the_metadata_of_a_checkpoint(root):
    record = json.loads(
        (root / "ablation/residual-14/checkpoints/8/record/metadata").read_text()
    )
    whole = json.loads(record["metadata"])
    require_metadata(root, whole)
    for what, edited in edits(whole["loop"], "loop."):
        flaws = []
        CHECKPOINT.sift(whole | {"loop": edited()}, "", flaws)
        wrong = "missing" in what and what.count(".") == 1
        assert flaws or not wrong, what
