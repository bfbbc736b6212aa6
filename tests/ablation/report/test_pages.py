import dataclasses
import io
import os
import re
import shutil
from html.parser import HTMLParser

import pytest
from rich.console import Console

from cnnjax.ablation.define import Ablation, Axis, Scale
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.report import pages, tables
from cnnjax.ablation.report.pages import write_report
from cnnjax.ablation.report.terminal import print_summary
from cnnjax.errors import UserError
from configs.ablations.degradation import get_ablation
from tests.ablation.synthetic_sweep import edit_result, write_sweep

VOID = {"meta", "link", "br", "hr", "img", "input"}


class _Tags(HTMLParser):
    """Keeps ids, and the open tags to see that they nest."""

    def __init__(self):
        super().__init__()
        self.open, self.ids = [], []

    def handle_starttag(self, tag, attrs):
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = write_sweep(tmp_path_factory.mktemp("runs") / "laptop")
    return folder, write_report(folder)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    folder = write_sweep(tmp_path_factory.mktemp("runs") / "laptop")
    shutil.rmtree(folder / "residual-32")
    (folder / "residual-56/seed-4/result.json").unlink()
    edit_result(
        folder / "plain-56/seed-1",
        status="failed",
        reason="the loss was <b>not finite</b> | step 231",
        final=None,
        best=None,
    )
    edit_result(folder / "plain-20/seed-3", config_hash="older")
    write_report(folder)
    return folder


def test_all_files_are_written(finished):
    folder, paths = finished
    names = {str(path.relative_to(folder)) for path in paths}
    plots = {f"plots/{n}.{e}" for n in ("answer", "error", "effects", "curves") for e in ("png", "svg")}  # fmt: skip  # noqa: E501
    assert names == {"report.html", "report.md", "results.csv"} | plots
    assert all(path.stat().st_size > 500 for path in paths)


def test_the_page_stands_alone(finished):
    page = (finished[0] / "report.html").read_text()
    assert not re.search(r"<script\s|<iframe|@import|<img|url\((?!#)", page)
    # The only link outside is an empty icon; namespaces are names, not requests.
    assert set(re.findall(r'href="([^#"][^"]*)"', page)) == {"data:,"}
    assert not re.search(r'src="', page)
    assert len(page) < 1_000_000


def test_the_page_is_well_formed_and_its_ids_are_unique(finished):
    tags = _Tags()
    tags.feed((finished[0] / "report.html").read_text())
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))
    labels = re.findall(r'aria-labelledby="([^"]*)"', (finished[0] / "report.html").read_text())  # fmt: skip  # noqa: E501
    assert set(labels) <= set(tags.ids)


def test_pictures_take_the_colour_of_the_page(finished):
    page = (finished[0] / "report.html").read_text()
    assert "currentColor" in page
    assert "#010203" not in page
    assert page.count("<svg") == 8


def test_the_page_says_what_was_asked_found_and_published(finished):
    page = (finished[0] / "report.html").read_text()
    for text in (
        "Do deeper plain nets train worse",
        "5 supported",
        "published, other data or budget",
        "6.97",
        "approximate, read off the curves",
        "training error (%)",
        "sign-flip p",
        "0" * 40,
        "configs/resnet_digits.py",
        "compile",
    ):
        assert text in page


def test_failed_and_missing_cells_are_prominent_and_escaped(broken):
    page = (broken / "report.html").read_text()
    assert "8 of 40 runs do not count" in page
    assert page.index("do not count") < page.index("<h2>Claims")
    assert "the loss was &lt;b&gt;not finite&lt;/b&gt;" in page
    assert ">1/5</text>" in page
    text = (broken / "report.md").read_text()
    assert "**residual-32**, seeds 0, 1, 2, 3, 4: missing (not started)" in text
    assert "ran with another config than the plan" in text


def test_diverged_runs_that_count_as_guessing_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "build_groups", lambda sweep, verdicts: [])  # seconds
    ablation = dataclasses.replace(get_ablation(), diverged_error=90.0)
    write_sweep(tmp_path, seeds=(0, 1, 2), ablation=ablation)
    for seed in range(3):
        folder = tmp_path / f"plain-56/seed-{seed}"
        edit_result(folder, status="failed", reason="infinite", final=None, best=None)
    write_report(tmp_path)
    for file in ("report.html", "report.md"):
        text = (tmp_path / file).read_text()
        assert "3 of them diverged" in text
        assert "count as 90%" in text
        assert "do not count" not in text
        assert "90.00 ± 0.00" in text


def test_every_markdown_table_is_rectangular(broken):
    blocks = re.findall(r"(?:^\|.*\n)+", (broken / "report.md").read_text(), re.M)
    # Claims, two of arms, published numbers, cost.
    assert len(blocks) == 5
    for block in blocks:
        bars = [len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()]
        assert len(set(bars)) == 1


def test_the_same_files_give_the_same_bytes(finished):
    folder, paths = finished
    before = {path: path.read_bytes() for path in paths}
    write_report(folder)
    assert all(path.read_bytes() == data for path, data in before.items())


def test_a_plan_with_nothing_run_gives_a_report(tmp_path):
    write_sweep(tmp_path, scale="smoke", seeds=(0, 1))
    for arm in ("plain-8", "plain-14", "residual-8", "residual-14"):
        shutil.rmtree(tmp_path / arm)
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "0 of 4 runs count" not in page  # 4 arms with 2 seeds
    assert "0 of 8 runs count" in page
    assert "No run has finished yet." in page
    print_summary(tmp_path, Console(file=io.StringIO()))


def test_an_ablation_of_single_changes_without_claims(tmp_path):
    labels = ("post", "full pre", "relu-only pre")
    ablation = Ablation(
        name="toy",
        title="Placement",
        question="Where?",
        source="nobody",
        axes=(Axis.over("placement", "model.placement", labels),),
        x_axis="placement",
        arm_name="{placement}",
        metrics=("train_loss", "test_error"),
        scales={"s": Scale(recipe="r", seeds=1)},
    )
    write_sweep(tmp_path, "s", seeds=(0,), ablation=ablation)
    names = {path.name for path in write_report(tmp_path)}
    assert "error.svg" in names
    assert "effects.svg" not in names
    assert ">relu-only pre</text>" in (tmp_path / "report.html").read_text()
    print_summary(tmp_path, Console(file=io.StringIO()))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_sentence(sweep_dir):
    sweep_dir.chmod(0o500)
    try:
        with pytest.raises(UserError, match="cannot be written"):
            write_report(sweep_dir)
    finally:
        sweep_dir.chmod(0o700)


def test_a_path_in_the_way_is_one_sentence(sweep_dir):
    (sweep_dir / "report.html").write_text("an earlier page")
    (sweep_dir / "plots").write_text("a file")
    with pytest.raises(UserError, match="the report cannot be written"):
        write_report(sweep_dir)


@pytest.mark.parametrize("width", [80, 140])
def test_the_screen_summary_fits_and_names_every_arm(broken, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_summary(broken, console)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for word in ("plain-8", "residual-56", "4/5", "supported", "±", "not finite"):
        assert word in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (tables.number(-0.001), "0.00"),
        (tables.number(float("nan")), "–"),
        (tables.p_value(0.00001), "< 0.0001"),
        (tables.p_value(0.0316), "0.032"),
        (tables.count(1727962), "1,727,962"),
        (tables.seconds(75.04), "75.0 s"),
        (tables.seconds(600), "10.0 min"),
    ],
)
def test_numbers_on_paper(text, expected):
    assert text == expected


def test_pages_of_views_are_linked_where_there_are_some(finished):
    folder, _ = finished
    sweep = collect(folder)
    context = pages.make_context(sweep) | {"groups": [], "picture": None}
    assert pages.looks(sweep, folder) == {}
    look = folder / "plain-20" / "look" / "look.html"
    look.parent.mkdir()
    look.touch()
    try:
        context["looks"] = pages.looks(sweep, folder)
    finally:
        shutil.rmtree(look.parent)
    page = pages.render("report.html.j2", context, autoescape=True)
    assert '<a href="plain-20/look/look.html">plain-20</a>.' in page
    text = pages.render("report.md.j2", context, autoescape=False)
    assert "[plain-20](plain-20/look/look.html)." in text
