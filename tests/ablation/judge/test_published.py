"""The records of a published report, written and read again."""

import json
import os
import random
import shutil

import pytest

from cnnjax.ablation.judge import published
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.judge.published import read_published, unpack, write_published
from cnnjax.errors import UserError
from cnnjax.records import from_line, read_json, read_metrics, to_line, write_json
from cnnjax.seal import result_digest, sealed
from tests.ablation.synthetic_sweep import edit_result, write_sweep


def pack(runs, folder, most=300_000):
    write_published(collect(runs), runs, folder, lambda text: text, most)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished sweep, one run of which has diverged; results have digests."""
    folder = write_sweep(tmp_path_factory.mktemp("runs"), seeds=(0, 1))
    bad = folder / "plain-56/seed-1"
    edit_result(bad, status="failed", reason="it diverged", final=None, best=None)
    for path in folder.glob("*/seed-*/result.json"):
        write_json(path, sealed(read_json(path), path.with_name("metrics.jsonl")))
    return folder


@pytest.fixture(scope="module")
def original(runs, tmp_path_factory):
    return pack(runs, tmp_path_factory.mktemp("published") / "degradation-laptop")


@pytest.fixture
def report(original, tmp_path):
    return shutil.copytree(original, tmp_path / "published")


def edit(report, number, change):
    """Changes a line of the records; the first is number 0."""
    path = report / "records.jsonl"
    lines = path.read_text().splitlines()
    record = from_line(lines[number])
    lines[number] = change(record) or to_line(record)
    path.write_text("\n".join(lines) + "\n")


def test_everything_that_is_judged_comes_back(runs, report, tmp_path):
    found = read_published(report)
    assert found.warnings == []
    unpack(found, tmp_path / "again")
    old, new = collect(runs), collect(tmp_path / "again")
    assert new.plan == old.plan
    assert new.provenance == old.provenance
    for one, other in zip(old.curves, new.curves, strict=True):
        assert (other.arm, other.seed, other.split) == (one.arm, one.seed, one.split)
        assert other.epochs == one.epochs
        assert other.errors == pytest.approx(one.errors, rel=1e-3)
    own = ("digest", "metrics_digest", "digest_of_run")
    for one, other in zip(old.rows, new.rows, strict=True):
        assert (other.status, other.reason) == (one.status, one.reason)
        assert other.result["digest_of_run"] == one.result["digest"]
        plain = [
            {k: v for k, v in r.result.items() if k not in own} for r in (one, other)
        ]
        assert to_line(plain[0]) == to_line(plain[1])
    rows = read_metrics(tmp_path / "again/plain-8/seed-0/metrics.jsonl")
    assert len(rows) == len(read_metrics(runs / "plain-8/seed-0/metrics.jsonl"))


def verify(folder, arm, outcome):
    """What `report --verify` finds for seed 0 of an arm."""
    digest = result_digest(read_json(folder / arm / "seed-0/result.json"))
    known = {"cell": arm, "seed": 0, "digest": digest}
    return known | {"outcome": outcome, "detail": ""}


@pytest.mark.parametrize("is_sealed", [True, False])
def test_what_was_verified_is_published(runs, tmp_path, is_sealed):
    own = shutil.copytree(runs, tmp_path / "runs")
    if not is_sealed:  # as earlier versions wrote it
        path = own / "plain-8/seed-0/result.json"
        write_json(path, {k: v for k, v in read_json(path).items() if k != "digest"})
    found = [verify(own, "plain-8", "equal"), verify(own, "plain-20", "different")]
    found.append(verify(own, "plain-32", "equal") | {"digest": "before it was edited"})
    known = {"created": "2025-01-02T00:00:00", "points": 0.5, "share": 1e-3}
    write_json(own / "verified.json", known | {"runs": found})
    words = collect(own).verified_words
    assert words.startswith("2 of 16 runs were evaluated again")
    for number in (1, 2):  # also when it is published again
        unpack(read_published(pack(own, tmp_path / f"a{number}")), tmp_path / "again")
        own = shutil.copytree(tmp_path / "again", tmp_path / f"b{number}")
        again = collect(own)
        assert again.verified_words == words
        refuted = [row.arm for row in again.rows if row.status == "excluded"]
        assert refuted == ["plain-20"]
    assert "verified" not in again.plan


def test_publishing_again_what_was_published_keeps_the_first_digest(report, tmp_path):
    first = read_published(report).cells["plain-8"].runs[0]
    unpack(read_published(report), tmp_path / "again")
    again = pack(tmp_path / "again", tmp_path / "second")
    assert read_published(again).cells["plain-8"].runs[0] == first
    assert first.is_whole


@pytest.mark.parametrize(
    "edited",
    [
        lambda run: run["result"]["final"]["test"].update(error=0.5),
        lambda run: run["result"].update(digest=None),
        lambda run: run["curves"]["train"]["error"].__setitem__(-1, 0.5),
    ],
)
def test_the_digest_tells_what_was_edited(report, tmp_path, edited):
    edit(report, 2, lambda record: edited(record["run"]) and None)
    found = read_published(report)
    runs = found.cells["plain-8"].runs
    assert [run.is_whole for run in runs.values()] == [False, True]
    unpack(found, tmp_path / "again")
    row = collect(tmp_path / "again").rows[0]
    assert (row.status, "digest" in row.reason) == ("excluded", True)


@pytest.mark.parametrize(
    ("most", "num_classes", "kept", "num_rows"),
    [(100_000, 10, True, 200), (100_000, 1000, False, 200), (20_000, 10, False, 50)],
)
def test_a_report_is_small_whatever_its_runs_are(
    tmp_path, most, num_classes, kept, num_rows
):
    folder = write_sweep(tmp_path / "runs", "smoke", seeds=(0, 1))
    rows = [
        {"kind": "eval", "split": "test", "step": i, "epoch": float(i), "error": i / 70}
        for i in range(1, 301)
    ]
    for number, path in enumerate(folder.glob("*/seed-*"), start=1):
        lines = [json.dumps(row | {"loss": row["error"] / number}) for row in rows]
        (path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
        test = {"count": 9, "per_class_accuracy": [number / 7] * num_classes}
        edit_result(path, final={"test": test})
    packed = pack(folder, tmp_path / "published", most)
    size = sum(path.stat().st_size for path in packed.iterdir())
    assert most / 4 < size <= most
    run = read_published(packed).cells["residual-14"].runs[1]
    assert ("per_class_accuracy" in run.result["final"]["test"]) == kept
    assert run.metrics.count(b"\n") == num_rows


def deep(record):
    return '{"cell": "plain-8", "seed": 0, "run": ' + "[" * 20_000 + "]" * 20_000 + "}"


WRONG_LINES = {
    "no JSON": lambda record: "{",
    "no UTF-8": lambda record: "\udcff",
    "empty object": lambda record: "{}",
    "a list": lambda record: "[1]",
    "deep": deep,
    "no seed": lambda record: record.pop("seed") and None,
    "seed as text": lambda record: record.update(seed="0"),
    "seed as path": lambda record: record.update(seed="../../0"),
    "negative seed": lambda record: record.update(seed=-1),
    "true as seed": lambda record: record.update(seed=True),
    "unknown cell": lambda record: record.update(cell="plain-9"),
    "cell as list": lambda record: record.update(cell=["plain-8"]),
    "run as list": lambda record: record.update(run=[1]),
    "result as text": lambda record: record["run"].update(result="done"),
    "curves as list": lambda record: record["run"].update(curves=[]),
    "another split": lambda record: record["run"].update(curves={"../x": {}}),
    "shorter column": lambda record: (
        record["run"]["curves"]["train"]["error"].pop() and None
    ),
    "longer column": lambda record: record["run"]["curves"]["train"].update(
        error=[1.0] * 201
    ),
    "texts in a column": lambda record: record["run"]["curves"]["train"].update(
        error=["1"] * 20
    ),
    "steps of nothing": lambda record: record["run"]["curves"]["train"].update(
        step=[None] * 20
    ),
    "long integers": lambda record: record["run"]["curves"]["train"].update(
        step=[10**400] * 20
    ),
}


@pytest.mark.parametrize("name", WRONG_LINES)
def test_a_wrong_line_is_a_warning_and_a_hole(report, tmp_path, name):
    path = report / "records.jsonl"
    lines = path.read_text().splitlines()
    record = from_line(lines[2])
    lines[2] = WRONG_LINES[name](record) or to_line(record)
    path.write_bytes("\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))
    found = read_published(report)
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("line 3 of published/records.jsonl is left out")
    assert list(found.cells["plain-8"].runs) == [1]
    unpack(found, tmp_path / "again")
    assert collect(tmp_path / "again").rows[0].status == "missing"


@pytest.mark.parametrize("key", ["common", "provenance"])
def test_a_wrong_line_of_a_cell_leaves_its_runs_out(report, key):
    edit(report, 1, lambda record: record.update({key: []}))
    found = read_published(report)
    assert "plain-8" not in found.cells
    assert len(found.warnings) == 3


def test_a_result_of_wrong_values_is_for_its_reader(report, tmp_path):
    """What a result must hold is checked where it is collected."""
    edit(
        report,
        2,
        lambda record: record["run"]["result"]["final"]["test"].update(error=795.0),
    )
    unpack(read_published(report), tmp_path / "again")
    assert collect(tmp_path / "again").rows[0].status == "excluded"


def test_a_line_that_was_cut_short_is_left_out(report):
    path = report / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    assert len(read_published(report).warnings) == 1


def test_only_what_is_planned_is_written(report, tmp_path):
    edit(report, 1, lambda record: record.update(cell="../../escaped"))
    edit(report, 5, lambda record: record.update(seed=77))
    unpack(read_published(report), tmp_path / "a/b/again")
    assert {path.name for path in tmp_path.iterdir()} == {"published", "a"}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert not list((tmp_path / "a").rglob("seed-77"))


@pytest.mark.parametrize("name", ["../esc", "/tmp/esc", ".", "", "a\nb", "report.html"])
def test_names_of_a_plan_are_no_paths(report, name):
    plan = read_json(report / "plan.json")
    plan["arms"][0]["name"] = name
    plan["arms"][0]["cells"][0]["name"] = name
    write_json(report / "plan.json", plan)
    with pytest.raises(UserError, match=r"plan\.json.*another folder"):
        read_published(report)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda path: path.unlink(),
            "holds no records.*give the folder of a published",
        ),
        (lambda path: path.write_bytes(b""), "does not begin with"),
        (lambda path: path.write_text('{"format": 2}\n'), "does not begin with"),
        (lambda path: path.unlink() or os.mkfifo(path), "is a pipe"),
        (lambda path: path.unlink() or path.symlink_to("/dev/zero"), "is a device"),
        (lambda path: path.unlink() or path.symlink_to("nowhere"), "cannot read"),
        (lambda path: path.unlink() or path.mkdir(), "is a folder"),
        (lambda path: os.truncate(path, 2**40), "1,099,511,627,776 bytes"),
    ],
)
def test_what_is_no_file_of_records_is_one_sentence(report, change, words):
    change(report / "records.jsonl")
    with pytest.raises(UserError, match=words):
        read_published(report)


def test_a_small_file_that_becomes_large_is_refused(report, monkeypatch):
    """Each of many runs may refer to one large common part."""
    size = (report / "records.jsonl").stat().st_size
    monkeypatch.setattr(published, "MOST_UNPACKED", size)
    with pytest.raises(UserError, match="no report is that large"):
        read_published(report)


VALUES = [
    None,
    True,
    -1,
    1e308,
    10**400,
    "",
    "../x",
    "NaN",
    "<b>",
    [],
    {},
    [[]],
    "\ud800",
]


def changed(value, rng):
    """A copy of a JSON value with a part somewhere that is of another kind."""
    if isinstance(value, dict | list) and value and rng.random() < 0.9:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = rng.choice(keys)
        copy = value.copy()
        copy[key] = changed(value[key], rng)
        if isinstance(value, dict) and rng.random() < 0.1:
            del copy[key]
        return copy
    return rng.choice(VALUES)


@pytest.mark.parametrize("seed", range(12))
def test_any_change_is_a_sentence_or_a_hole(report, tmp_path, seed):
    rng = random.Random(seed)
    for path in (report / "plan.json", report / "records.jsonl"):
        lines = path.read_text().splitlines()
        number = rng.randrange(len(lines))
        lines[number] = json.dumps(changed(json.loads(lines[number]), rng))
        path.write_text("\n".join([*lines, ""]))
    try:
        unpack(read_published(report), tmp_path / "again")
        collect(tmp_path / "again")
    except UserError:
        pass
    assert {path.name for path in tmp_path.iterdir()} <= {"published", "again"}
