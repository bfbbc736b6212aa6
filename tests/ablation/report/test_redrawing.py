"""A published report is drawn again from its records alone."""

import contextlib
import io
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from cnnjax.ablation.execute.status import read_cells
from cnnjax.ablation.execute.verify import verify as verify_runs
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.plan import earlier_plan
from cnnjax.ablation.report import pages, redrawing
from cnnjax.ablation.report import publish as publishing
from cnnjax.ablation.report.pages import write_report
from cnnjax.ablation.report.plots.groups import build_groups
from cnnjax.ablation.report.publish import publish, without_folders
from cnnjax.ablation.report.redrawing import write_report_from
from cnnjax.ablation.report.replacing import FILES
from cnnjax.ablation.report.terminal import print_summary
from cnnjax.errors import UserError
from cnnjax.records import read_json, write_json
from cnnjax.seal import result_digest
from tests.ablation.synthetic_sweep import edit_result, write_sweep

TABLES = "<!-- begin degradation-laptop -->\n<!-- end degradation-laptop -->\n"


def add_page(repository):
    """Adds the page of tables to a repository."""
    (repository / "docs").mkdir()
    (repository / "docs/first_verdict.md").write_text(TABLES)


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """They take seconds, and come from what the page comes from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "build_groups", lambda sweep, verdicts: [])
        patch.setattr(publishing, "save_thumbnail", lambda entry, path: False)
        yield


def verify(folder, outcome):
    """Writes what `report --verify` found for one run."""
    result = read_json(folder / "plain-8/seed-0/result.json")
    run = {"cell": "plain-8", "seed": 0, "digest": result_digest(result)}
    known = {"created": "2025-01-02", "points": 0.5, "share": 1e-3}
    runs = [run | {"outcome": outcome, "detail": ""}]
    write_json(folder / "verified.json", known | {"runs": runs})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished sweep whose records name folders of this machine."""
    folder = tmp_path_factory.mktemp("my runs") / "laptop"
    write_sweep(folder, seeds=(0, 1, 2))
    edit_result(
        folder / "plain-56/seed-1",
        status="failed",
        reason=f"not finite; the last good one is {folder}/plain-56/9, see /a/b/c",
        final=None,
        best=None,
    )
    for path in folder.glob("*/provenance.json"):
        command = f"ablate.py --data_dir=/data/tfds '--workdir={folder}'"
        write_json(path, read_json(path) | {"command": command})
    plan = read_json(folder / "plan.json")
    recipe = f"{folder}/mine.py"
    plan["recipe"] = plan["spec"]["ablation"]["scales"]["laptop"]["recipe"] = recipe
    write_json(folder / "plan.json", plan)
    verify(folder, "equal")
    return folder


@pytest.fixture(scope="module")
def published(runs, tmp_path_factory):
    repository = tmp_path_factory.mktemp("repository")
    add_page(repository)
    return publish(runs, repository)


def without_note(published):
    """The page without what it says about changes of its definition since."""
    page = (published / "report.md").read_text()
    note = "<!-- begin definition .*?<!-- end definition -->\n\n"
    return re.sub(note, "", page, flags=re.S)


def differing(one, other, files):
    return [
        name
        for name in files
        if (one / name).read_bytes() != (other / name).read_bytes()
    ]


def test_the_page_is_the_published_one_byte_by_byte(published, tmp_path):
    # A copy elsewhere, so that nothing but the folder is needed.
    copy = shutil.copytree(published, tmp_path / "copy")
    (copy / "report.md").unlink()
    (copy / "results.csv").unlink()
    out, screen = tmp_path / "out", io.StringIO()
    page = write_report_from(copy, out, Console(file=screen, width=120))
    assert page == out / "report.html"
    (copy / "report.md").write_text(without_note(published))
    assert not differing(out, copy, ["report.md"])
    assert not differing(out, published, ["results.csv"])
    assert "plain-56 has a higher test error" in screen.getvalue()
    words = "1 of 24 runs were evaluated again from their weights, last on 2025-01-02"
    assert words in (published / "report.md").read_text()


@pytest.mark.slow
def test_the_pictures_are_the_published_ones(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "build_groups", build_groups)
    add_page(tmp_path)
    published = publish(runs, tmp_path)
    write_report_from(published, tmp_path / "out", Console(file=io.StringIO()))
    names = [path.name for path in (tmp_path / "out/plots").glob("*.png")]
    assert set(names) == {"answer.png", "error.png", "effects.png", "curves.png"}
    assert not differing(tmp_path / "out/plots", published / "plots", names)


def test_tables_and_verdicts_are_those_of_the_runs(runs, published):
    write_report(runs)
    texts = (runs / "report.md").read_text(), without_note(published)
    lines = [text.splitlines() for text in texts]
    changed = [a for a, b in zip(*lines, strict=True) if a != b]
    assert all("/laptop" in line for line in changed)  # a path, see below
    assert len(changed) == 2
    rows = [(folder / "results.csv").read_text() for folder in (runs, published)]
    assert rows[0].replace(str(runs), "...").replace("/a/b/c", ".../c") == rows[
        1
    ].replace(".../9", ".../plain-56/9")


def test_nothing_of_this_machine_is_published(runs, published):
    for path in [p for p in published.rglob("*") if p.is_file() and p.suffix != ".png"]:
        text = path.read_text()
        assert not re.search(r"(?<![\w.:/<])/\w+/\w", text), path
        assert str(runs) not in text
        assert "my runs" not in text
    assert "mine.py" in (published / "plan.json").read_text()


def test_a_report_without_its_pictures_is_small(published):
    texts = [p for p in published.iterdir() if p.is_file()]
    assert {p.name for p in texts} == FILES
    assert sum(p.stat().st_size for p in texts) < 300_000


def test_what_was_refuted_is_not_published(runs, tmp_path):
    own = shutil.copytree(runs, tmp_path / "runs")
    verify(own, "different")
    add_page(tmp_path)
    with pytest.raises(UserError, match="seed 0: its weights, evaluated again"):
        publish(own, tmp_path)
    row = next(row for row in collect(own).rows if row.arm == "plain-8")
    assert (row.status, row.seed) == ("excluded", 0)


def test_a_lost_run_is_a_hole_and_is_named(published, tmp_path):
    copy = shutil.copytree(published, tmp_path / "copy")
    lines = (copy / "records.jsonl").read_text().splitlines(keepends=True)
    lines[2] = "{\n"
    (copy / "records.jsonl").write_text("".join(lines))
    screen = io.StringIO()
    write_report_from(copy, tmp_path / "out", Console(file=screen, width=120))
    assert "line 3 of copy/records.jsonl is left out" in screen.getvalue()
    text = (tmp_path / "out/report.md").read_text()
    assert "**plain-8**, seed 0: missing" in text


@pytest.mark.parametrize("held", ["plan.json", "config.json"])
def test_runs_are_never_overwritten(published, tmp_path, held):
    (tmp_path / held).write_text("{}")
    with pytest.raises(UserError, match=f"holds runs of its own .{held}"):
        write_report_from(published, tmp_path)
    with pytest.raises(UserError, match="holds runs of its own"):
        write_report_from(published, published)


def test_a_report_without_records_says_so(published, tmp_path, monkeypatch):
    """Those that were published before there were records."""
    copy = shutil.copytree(published, tmp_path / "copy")
    (copy / "records.jsonl").unlink()
    monkeypatch.setattr(redrawing, "write_report", None)
    with pytest.raises(UserError, match=r"no records of published runs \(no records"):
        write_report_from(copy, tmp_path / "out")


def test_without_a_folder_it_is_written_among_the_runs(
    published, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    page = write_report_from(published, None, Console(file=io.StringIO()))
    assert page == Path("runs/published/degradation-laptop/report.html")
    assert page.is_file()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("see /home/me/runs/9, or ~/x/y", "see .../9, or .../y"),
        ("file:///home/me/a.py", ".../a.py"),
        ("('/scratch/a/b')", "('.../b')"),
        ("top-1/top-5/top-10 and 10 / 20 / 30", None),
        ("https://arxiv.org/abs/1512.03385", None),
        ("images/s, 8/8/8, and/or", None),
        (r"at C:\Users\me\my runs\x", "at .../x"),
        (r"C:/Users/me/x and \\server\me\y", ".../x and .../y"),
        ("a:/home/me/x", ".../x"),
        ("rsync host:/home/me/x", "rsync host:.../x"),
        ("in /home/me/my own data/all sets/x", "in .../x"),
        ("--data_dir=/home/my data/all/x --jobs=2", "--data_dir=.../x --jobs=2"),
        ("/home/me/x: see docs/y", ".../x: see docs/y"),
        ("/home/me/a.py --config=configs/b.py", ".../a.py --config=configs/b.py"),
        ("s3://bucket/a/b, 3:/4, \\alpha\\beta", None),
        ("docs/results/x/report.md", None),
    ],
)
def test_what_is_a_folder_of_a_machine(text, clean):
    assert without_folders(text) == (clean or text)


@pytest.mark.parametrize(
    "names", [("results.csv", "report.md"), ("report.html",), ("notes.txt",)]
)
def test_files_of_the_user_are_never_replaced(published, tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=r"neither empty nor .*--workdir"):
        write_report_from(published, tmp_path)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == dict.fromkeys(
        names, "mine"
    )


def test_its_own_folder_is_written_again(published, tmp_path, monkeypatch):
    drawing = tmp_path / "drawing"
    for name in ("report.md", "report.html", "results.csv", "plots/a.png"):
        (drawing / name).parent.mkdir(parents=True, exist_ok=True)
        (drawing / name).touch()
    found = contextlib.nullcontext((drawing, []))
    monkeypatch.setattr(redrawing, "drawn", lambda folder: found)
    monkeypatch.setattr(redrawing, "print_summary", lambda *_: None)
    silent = Console(file=io.StringIO())
    (tmp_path / "out").mkdir()
    for _ in range(2):
        write_report_from(published, tmp_path / "out", silent)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"see notes\.txt"):
        write_report_from(published, tmp_path / "out", silent)


@pytest.mark.parametrize(
    "command",
    [
        write_report,
        lambda folder: print_summary(folder, Console(file=io.StringIO())),
        lambda folder: publish(folder, folder.parents[2]),
        read_cells,
        lambda folder: verify_runs(folder, "all", print, ""),
        earlier_plan,
    ],
    ids=["report", "summary", "publish", "status", "verify", "ablate"],
)
def test_a_published_report_is_no_folder_of_runs(published, command):
    """It has a plan, but no run: its own page would be replaced by an empty one."""
    before = {p: p.read_bytes() for p in published.rglob("*") if p.is_file()}
    with pytest.raises(UserError, match=r"is a published report .*--from.*--resume"):
        command(published)
    assert {p: p.read_bytes() for p in published.rglob("*") if p.is_file()} == before
