"""Reports of records and definitions that hold scripts, codes, markup and formulas."""

import csv
import dataclasses
import io
import json
import math
import os
import re
import shutil
import unicodedata
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from cnnjax.ablation.define import Ablation, Axis, Scale, higher
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.judge.stats import Contrast
from cnnjax.ablation.judge.verdicts import Verdict, judge
from cnnjax.ablation.judge.wording import shown
from cnnjax.ablation.report import tables
from cnnjax.ablation.report.overview import read_entry, write_index
from cnnjax.ablation.report.pages import make_context, render, write_report
from cnnjax.ablation.report.plots import draw, effects
from cnnjax.ablation.report.plots.figures import Group, Panel, save_groups
from cnnjax.ablation.report.plots.groups import build_groups
from cnnjax.ablation.report.terminal import print_summary
from cnnjax.ablation.report.training import print_training, write_training_report
from cnnjax.config import digest
from cnnjax.errors import UserError
from tests.ablation.report.test_pages import _Tags
from tests.ablation.synthetic_sweep import edit_result, write_sweep

EVIL = (
    "=1+1 </p><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m\u202e"
    "\0\x9b\ud800 a|b\n# head\n\n===\n`code` $x_1^$ [a](javascript:b) [red]b[/red] "
)
PROFILE = {"axes": [EVIL, "_" + EVIL], "labels": ["a"] * 3, "positions": [1, 2, 3]}


class Strict(_Tags):
    """Notes tags that run something, and attributes that do."""

    def __init__(self):
        super().__init__()
        self.scripts, self.handlers = 0, []

    def handle_starttag(self, tag, attrs):
        super().handle_starttag(tag, attrs)
        self.scripts += tag == "script"
        self.handlers += [key for key, _ in attrs if key.startswith("on")]
        assert tag not in ("img", "iframe", "object", "embed", "base")


def hidden(text):
    return {
        c
        for c in text
        if not c.isprintable() and c != "\n" and unicodedata.category(c) != "Zs"
    }


def headings(text):
    return re.findall(r"^#+ |^===|^```", text, re.MULTILINE)


def terminal():
    return Console(file=io.StringIO(), width=100, color_system=None)


def check_page(text):
    tags = Strict()
    tags.feed(text)
    assert tags.open == []
    assert tags.scripts == 1  # sorts tables
    assert tags.handlers == []
    assert len(tags.ids) == len(set(tags.ids))
    assert hidden(text) == set()


def check_markdown(text, usual):
    assert hidden(text) == set()
    assert headings(text) == headings(usual)
    assert not re.search(
        r"(?<!\\)<(script|img src=x|p>)|(?<!\\)\]\(javascript|(?<!\\)`c", text
    )
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        bars = [len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()]
        assert len(set(bars)) == 1


def check_table(text):
    assert hidden(text) == set()
    for row in csv.reader(io.StringIO(text)):
        for cell in row:
            if cell[:1] in ("=", "+", "-", "@"):
                float(cell)


def check_pictures(folder):
    pictures = list(folder.glob("*.svg"))
    for picture in pictures:
        text = picture.read_text("utf-8")
        ElementTree.fromstring(text.replace("currentColor", "#000000"))
        assert hidden(text) == set()
        assert "<script" not in text
    return {picture.stem for picture in pictures}


def ablation_of(words, title, name):
    """Two arms and a claim, with these words in all places of texts."""
    claim = higher(
        "train_error",
        "one",
        than="two",
        **dict.fromkeys(("source", "published"), words),
        **dict.fromkeys(("name", "sentence"), name),
    )
    return Ablation(
        name="toy",
        **dict.fromkeys(("title", "question", "source"), words),
        axes=[Axis("net", {"one": {}, "two": {"model.name": "x"}}, title)],
        arm_name="{net}",
        x_axis="net",
        metrics=["train_error"],
        claims=[claim],
        scales={"laptop": Scale(recipe=f"{words}.py", seeds=2, note=words)},
        background=words,
        limits=words,
    )


def written(root, words, title, name):
    """A folder of runs with these words in all records."""
    ablation = ablation_of(words, title, name)
    folder = write_sweep(root / "toy/laptop", seeds=(0, 1), ablation=ablation)
    profile = PROFILE | {"axes": [title, words], "values": [1.0, 20.0, 400.0]}
    for seed in range(2):
        record = {"profiles": {words: profile}}
        edit_result(folder / f"one/seed-{seed}", probes={"norms": record})
    provenance = folder / "two/provenance.json"
    known = json.loads(provenance.read_text())
    provenance.write_text(json.dumps(known | {"command": words, "processor": words}))
    failure = {"status": "failed", "reason": words, "final": None, "best": None}
    arm = folder / "two/seed-2"
    arm.mkdir()
    (arm / "result.json").write_bytes((folder / "two/seed-1/result.json").read_bytes())
    edit_result(arm, seed=2, **failure)
    plan = json.loads((folder / "plan.json").read_text())
    plan["arms"][1]["cells"][0]["seeds"].append(2)
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    # Dollars in pairs would ask for mathematics, and be refused.
    return written(tmp_path_factory.mktemp("runs"), EVIL, f"{EVIL}$", EVIL)


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    root = tmp_path_factory.mktemp("usual")
    return written(root, "words", r"$\sigma$ \$", "$x_1^$")


def test_a_report(folder):
    root = folder.parents[2]
    before = {path for path in root.rglob("*") if path.is_file()}
    paths = write_report(folder)
    after = {path for path in root.rglob("*") if path.is_file()}
    assert after - before == set(paths)  # no temporary file is left either
    check_page((folder / "report.html").read_text("utf-8"))
    text = (folder / "report.md").read_text("utf-8")
    check_markdown(text, "# a\n## a\n## a\n## a\n" + 4 * "### a\n" + 3 * "## a\n")
    check_table((folder / "results.csv").read_text("utf-8"))
    assert check_pictures(folder / "plots") == {
        *("answer", "error", "effects", "curves", "norms")
    }


def test_mathematics_are_drawn_only_where_a_title_asks(usual, tmp_path):
    sweep = collect(usual)
    error, of_claims, _, norms = build_groups(sweep, judge(sweep))
    save_groups([error, of_claims, norms], tmp_path)
    assert "$x_1^$" in (tmp_path / "effects.svg").read_text("utf-8")
    picture = re.sub("<!--.*?-->", "", (tmp_path / "error.svg").read_text("utf-8"))
    assert "σ" in picture
    assert r"\sigma" not in picture
    # Of a record, nobody has asked.
    assert r"$\sigma$" in (tmp_path / "norms.svg").read_text("utf-8")


def test_an_overview(folder, tmp_path):
    entries = [
        dataclasses.replace(read_entry("toy", folder, EVIL), name=name)
        for name in ("toy", "a b (c)")
    ]
    page = write_index(tmp_path / "atlas", "laptop", entries)
    check_page(page.read_text("utf-8"))
    text = page.with_suffix(".md").read_text("utf-8")
    check_markdown(text, "# Atlas\n## The answers\n## a\n## a\n")
    assert "](../a%20b%20%28c%29/laptop/report.md)" in text


def test_screens(folder):
    console = terminal()
    print_summary(folder, console)
    text = console.file.getvalue()
    assert hidden(text) == set()
    assert "[red]b[/red]" in re.sub(r"[\s│]+", "", text)
    assert r"\x1b[31m" in re.sub(r"[\s│]+", "", text)


def test_a_report_of_a_training(folder, tmp_path):
    run = shutil.copytree(folder / "two", tmp_path / "run")
    config = {"seeds": {"first": 0, "count": 3}, "model": {"name": EVIL}}
    config["data"] = {"name": EVIL}
    config["train"] = {"epochs": 1, "steps": 0, "batch_size": 32, "note": EVIL}
    (run / "config.json").write_text(json.dumps(config))
    for path in run.glob("seed-*"):
        edit_result(path, config_hash=digest(config))
    page, text, table, *_ = write_training_report(run)
    check_page(page.read_text("utf-8"))
    check_markdown(text.read_text("utf-8"), "# a\n" + 4 * "## a\n")
    check_table(table.read_text("utf-8"))
    check_pictures(run / "plots")
    console = terminal()
    print_training(run, console)
    assert hidden(console.file.getvalue()) == set()


@pytest.mark.parametrize(
    "name",
    ["../../outside", "/tmp/outside", "<script>alert(1)</script>", "error", EVIL],
)
def test_the_name_of_a_probe_is_checked_where_it_is_read(tmp_path, name):
    folder = written(tmp_path, "words", "", "a claim")
    profile = PROFILE | {"axes": ["x", "y"], "values": [1.0, 2.0, 3.0]}
    evil = {"norms": {"profiles": {"": profile}}, name: {"profiles": {"": profile}}}
    edit_result(folder / "one/seed-0", probes=evil)
    sweep = collect(folder)
    groups = build_groups(sweep, [])
    assert [group.name for group in groups] == ["error", "curves", "norms"]
    assert any("probe" in reason for reason in wrong_words(sweep))


def wrong_words(sweep):
    return [*sweep.warnings, *(row.reason for row in sweep.rows)]


def fail(*args, **kwargs):
    raise IndexError


def test_a_figure_that_cannot_be_drawn_leaves_the_rest(usual, tmp_path, capsys):
    group = Group("a", "A", "", [Panel("a", lambda ax: None)], 1)
    bad = dataclasses.replace(group, name="effects", panels=[Panel("b", fail)])
    for ending in ("png", "svg"):
        (tmp_path / f"effects.{ending}").write_text("of an earlier report")
    groups, paths = save_groups([bad, group], tmp_path)
    assert sorted(paths) == sorted(tmp_path.iterdir()) != []
    assert "A cannot be drawn (IndexError)" in capsys.readouterr().out
    context = make_context(collect(usual)) | {"groups": groups[:1]}
    page = render("report.html.j2", context, autoescape=True)
    assert "A cannot be drawn (IndexError)." in page
    assert "Claims and their statistics" in page
    text = render("report.md.j2", context, autoescape=False)
    assert "A cannot be drawn (IndexError)." in text
    assert "plots/effects" not in text


def test_an_overview_outlives_a_picture(usual, tmp_path, monkeypatch):
    monkeypatch.setattr(draw, "draw_metric", fail)
    entries = [read_entry(name, usual) for name in ("toy", "other")]
    page = write_index(tmp_path / "atlas", "laptop", entries)
    assert page.read_text("utf-8").count("<tr>") == 3
    assert not list((tmp_path / "atlas").rglob("*.png"))


@pytest.mark.parametrize("failing", ["a.svg", "a.png"])
def test_a_full_disk_leaves_the_pictures_of_before(tmp_path, monkeypatch, failing):
    """Each is written beside the old one and renamed."""
    group = Group("a", "A", "", [Panel("a", lambda ax: None)], 1)
    before = {path: path.read_bytes() for path in save_groups([group], tmp_path)[1]}
    rename = os.replace

    def full(source, target):
        if str(target).endswith(failing):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "replace", full)
    other = dataclasses.replace(group, panels=[Panel("b", lambda ax: None)])
    with pytest.raises(UserError, match=f"{failing}: No space left"):
        save_groups([other], tmp_path)
    assert (tmp_path / failing).read_bytes() == before[tmp_path / failing]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_intervals_without_an_end_are_drawn(tmp_path, count):
    """Those of few seeds, where results decided how many there are."""
    ablation = ablation_of("words", "", "a claim")
    folder = write_sweep(tmp_path, seeds=tuple(range(count)), ablation=ablation)
    plan = folder / "plan.json"
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"sequential": True}))
    sweep = collect(folder)
    verdicts = judge(sweep)
    groups = [
        g for g in build_groups(sweep, verdicts) if g.name in ("effects", "error")
    ]
    shown, _ = save_groups(groups, tmp_path / "plots")
    assert len(shown) == (2 if count > 1 else 1)
    assert all(group.panels for group in shown)
    if count > 1:
        assert verdicts[0].contrast.high == math.inf
        assert "Bars that reach the edge have no end" in shown[1].caption


@pytest.mark.parametrize("effect", [-40.0, 0.0, 0.01, 40.0])
@pytest.mark.parametrize("half", [0.0, 0.5, 60.0, math.inf, math.nan])
def test_effects_of_any_size_are_drawn(effect, half):
    claim = higher("train_error", "one", than="two", source="x", margin=2.0)
    contrast = Contrast(
        n=2, effect=effect, sd=1.0, low=effect - half, high=effect + half, p=1.0,
        permutation_p=1.0, permutation_floor=1.0, effect_size=0.0, detectable=math.inf,
        no_spread=False,
    )  # fmt: skip
    ax = Figure().add_subplot()
    effects.draw_effects(
        ax,
        [Verdict(claim, "undecided", "", contrast, shown=shown(claim, contrast))],
        "effect",
    )
    low, high = ax.get_xlim()
    assert low < min(effect, 2.0)
    assert high > max(effect, 2.0)
    assert high - low < 500


def test_no_end_has_a_sign():
    assert tables.number(-math.inf) == "-∞"
    assert tables.number(math.inf) == "∞"
