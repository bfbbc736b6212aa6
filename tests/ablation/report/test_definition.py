"""A published report says with which definition it was made, and what changed since."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import pytest

from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.report import definition
from cnnjax.errors import UserError
from cnnjax.texts import block
from tests.ablation.synthetic_sweep import write_sweep

ROOT = Path(__file__).parents[3]
REPORTS = sorted(path.parent for path in (ROOT / "docs/results").glob("*/report.md"))
DO = "write it with ./launch.sh publish --refresh"
THEN = {
    "commits": ["0123456789" * 4],
    "ablation": "a",
    "scale": "laptop",
    "seeds": 2,
    "config": {"train.epochs": 15},
    "arms": {"plain": {"model.depth": 8}, "residual": {"model.depth": 20}},
    "claims": {
        "a": {"metric": "test_error", "contrast": {"plain": 1}, "margin": 0.0},
        "b": {"metric": "test_error", "contrast": {"plain": 1}, "margin": 1.0},
    },
}


def changed(**new):
    return definition.changes(THEN, THEN | new)


def test_what_changed_is_said():
    assert changed() == []
    assert changed(seeds=3) == ["seeds: 2 -> 3"]
    assert changed(config={"train.epochs": 20}) == ["train.epochs: 15 -> 20"]
    arms = THEN["arms"] | {"plain": {"model.depth": 9}}
    assert changed(arms=arms) == ["model.depth: 8 -> 9 (plain)"]
    arms = {"plain": THEN["arms"]["plain"], "dense": {}}
    assert changed(arms=arms) == ["arm gone: residual", "arm added: dense"]
    # The key of all has become one of each arm: nothing has changed.
    moved = {arm: {"train.epochs": 15, **own} for arm, own in THEN["arms"].items()}
    assert changed(config={}, arms=moved) == []


def test_a_claim_is_what_it_states():
    a, b = THEN["claims"].values()
    assert changed(claims={"a in other words": a, "b": b}) == []
    assert changed(claims={"a": a}) == ["claim gone: b"]
    other = b | {"margin": 2.0}
    assert changed(claims={"a": a, "b": other}) == ["claim 'b' is another statement"]
    assert changed(claims={"a": a, "b": b, "c": other}) == ["claim added: c"]


def test_rules_of_verdicts():
    rules = {"gate": ["train_loss", 0.1, "plain"], "diverged_error": 90.0}
    # Files of before have no rules: a gate is new, `diverged_error` is not known.
    assert changed(rules=rules) == ["rules of verdicts (gate)"]
    then = THEN | {"rules": rules}
    assert definition.changes(then, then) == []
    now = then | {"rules": {"gate": ["train_loss", 0.2, "plain"]}}
    assert definition.changes(then, now) == ["rules of verdicts (diverged_error, gate)"]


def test_the_note_on_the_page():
    assert (
        definition.note(THEN, THEN) == "Made with the definition of commit 0123456789."
    )
    text = definition.note(THEN, THEN | {"seeds": 3})
    assert text.endswith("The definition has changed since: seeds: 2 -> 3.")
    assert "no definition of this name" in definition.note(THEN, None)
    then = THEN | {definition.CHANGED: ["rounding of batch norm (commit abc)"]}
    text = definition.note(then, THEN)
    assert text.endswith("have changed since: rounding of batch norm (commit abc).")


def test_pages_are_refreshed(tmp_path):
    """An edited definition: its page and the list say so, and nothing else moves."""
    source = ROOT / "docs/results/degradation-laptop"
    folder = tmp_path / "docs/results/degradation-laptop"
    folder.mkdir(parents=True)
    made_with = json.loads((source / definition.FILE).read_text())
    (folder / definition.FILE).write_text(json.dumps(made_with | {"seeds": 4}))
    page = (source / "report.md").read_text()
    (folder / "report.md").write_text(page)
    marks = "a\n<!-- begin definitions -->\n<!-- end definitions -->\nb\n"
    gallery = tmp_path / "docs/results/README.md"
    gallery.write_text(marks)
    assert len(definition.refresh(tmp_path)) == 2
    assert definition.refresh(tmp_path) == []
    new = (folder / "report.md").read_text()
    assert "The definition has changed since: seeds: 4 -> 5" in new
    end = "<!-- end definition -->"
    assert new.split(end)[1] == page.split(end)[1]
    listed = gallery.read_text()
    assert "0 of 1 published reports" in listed
    assert "(degradation-laptop/report.md)" in listed
    assert (listed[:2], listed[-3:]) == ("a\n", "\nb\n")


def test_other_numbers_of_the_same_definition_are_told(tmp_path):
    folder = tmp_path / "docs/results/a-laptop"
    folder.mkdir(parents=True)
    (folder / definition.FILE).write_text(json.dumps(THEN))
    definition.state_change(tmp_path, ["a-laptop"], "rounding (commit abc)")
    stored = json.loads((folder / definition.FILE).read_text())
    assert stored == THEN | {definition.CHANGED: ["rounding (commit abc)"]}
    with pytest.raises(UserError, match="--reports"):
        definition.state_change(tmp_path, [], "rounding")
    with pytest.raises(UserError, match="b-laptop"):
        definition.state_change(tmp_path, ["b-laptop"], "rounding")


def given(tmp_path, record):
    """A repository with one report, whose record anyone may have written."""
    path = tmp_path / "docs/results/gift-laptop" / definition.FILE
    path.parent.mkdir(parents=True)
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    return tmp_path


@pytest.mark.parametrize("name", ["{}", "./{}", "a.py", "a", "configs/ablations/dense"])
def test_a_name_in_a_record_runs_no_file(tmp_path, monkeypatch, name):
    (tmp_path / "a.py").write_text("raise AssertionError('it was run')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(definition, "load_ablation", pytest.fail)
    assert definition.as_defined(name.format(tmp_path / "a.py"), "laptop") is None


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (THEN | {"ablation": "docs/a.py"}, "character '/'"),
        (THEN | {"scale": 3}, "scale"),
        (THEN | {"commits": ["<script>alert(1)</script>"]}, r"commits\[0\]"),
        (THEN | {"commits": "0" * 40}, "commits is '0+', not a list"),
        (THEN | {"seeds": "5"}, "seeds"),
        (THEN | {"config": []}, "config"),
        (THEN | {"arms": {"plain": 1}}, "arms.plain"),
        (THEN | {"arms": {"<b>": {}}}, "'<'"),
        (THEN | {"claims": {"a": {}}}, "missing"),
        (THEN | {"rules": 1}, "rules"),
        (THEN | {definition.CHANGED: "text"}, "numbers_changed"),
        (THEN | {"config": {"a": [[[[[[[[1]]]]]]]]}}, "levels"),
        ({}, "missing"),
        ([], "a list"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_record_that_publish_did_not_write_is_refused(tmp_path, record, words):
    root = given(tmp_path, record)
    for read in (
        lambda: definition.refresh(root),
        lambda: definition.state_change(root, ["gift-laptop"], "rounding"),
    ):
        with pytest.raises(UserError, match=f"gift-laptop/definition.json .*{words}"):
            read()


def test_texts_of_a_record_are_no_markup(tmp_path):
    then = THEN | {
        "config": {"<script>": "[a](javascript:b)\n# c"},
        "claims": {"<img src=x>": THEN["claims"]["a"] | {"margin": 7}},
        definition.CHANGED: ["<script>d", "x" * 100_000],
    }
    text = definition.note(then, THEN)
    assert "<" not in text
    assert "\n" not in text
    assert r"\[a\](javascript:b) # c" in text
    assert len(text) < 3000


def test_what_is_written_can_be_read(tmp_path):
    """Also where a provenance names what is no commit."""
    commits = ["a" * 40, "b" * 64, "c" * 40 + "-dirty"]
    runs = write_sweep(tmp_path / "runs", seeds=(0, 1))
    provenance = {
        str(number): {"git_commit": commit}
        for number, commit in enumerate([*commits, None, "<script>"])
    }
    sweep = dataclasses.replace(collect(runs), provenance=provenance)
    made_with = definition.of_runs(sweep, runs)
    assert made_with["commits"] == commits
    assert definition.refresh(given(tmp_path, made_with)) == []  # no page has a block


@pytest.fixture(scope="module")
def expected():
    return definition.expected_blocks(ROOT)


@pytest.mark.parametrize("folder", REPORTS, ids=lambda folder: folder.name)
def test_a_published_report_says_what_it_was_made_with(folder, expected):
    assert (folder / definition.FILE).is_file(), "publish it again: no definition"
    name, text = expected[folder / "report.md"]
    assert block((folder / "report.md").read_text(), name) == text, DO


def test_a_report_whose_definition_is_gone_is_not_of_today(tmp_path, monkeypatch):
    """Nor is one whose numbers have changed; words of a note decide nothing."""
    results = tmp_path / "docs" / "results"
    others = {"same": {}, "gone": {}, "moved": {definition.CHANGED: ["it grew"]}}
    for name, more in others.items():
        (results / name).mkdir(parents=True)
        written = THEN | {"ablation": name} | more
        (results / name / definition.FILE).write_text(json.dumps(written))
    monkeypatch.setattr(
        definition, "as_defined", lambda name, scale: None if name == "gone" else THEN
    )
    _, text = definition.expected_blocks(tmp_path)[results / "README.md"]
    assert text.startswith("1 of 3 published reports were made with today's")
    assert "[gone](gone/report.md)" in text
    assert "[moved](moved/report.md)" in text
    assert "today's definitions: [same](same/report.md). The others:" in text


def test_the_list_says_which_reports_are_out_of_date(expected):
    gallery = ROOT / "docs/results/README.md"
    name, text = expected[gallery]
    assert block(gallery.read_text(), name) == text, DO


@pytest.mark.parametrize("folder", REPORTS, ids=lambda folder: folder.name)
def test_a_definition_is_that_of_the_results_beside_it(folder):
    made_with = json.loads((folder / definition.FILE).read_text())
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["arm"] for row in rows} == set(made_with["arms"])
    assert min(map(len, seeds_of(rows).values())) >= made_with["seeds"]
    page = (folder / "report.md").read_text()
    shown = re.findall(r"[0-9a-f]{40}", re.search("git_commit: (.*)", page).group(1))
    assert set(shown) == set(made_with["commits"])


def seeds_of(rows):
    seeds = {}
    for row in rows:
        seeds.setdefault(row["arm"], set()).add(row["seed"])
    return seeds
