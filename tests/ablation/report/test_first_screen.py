"""What a report says first, in which order the rest comes, and that all can be read."""

import dataclasses
import math
import re
from html.parser import HTMLParser

import pytest

from cnnjax.ablation.define import Ablation, Axis, Scale, below, higher, lower
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.judge.verdict import WORDS
from cnnjax.ablation.judge.verdicts import judge
from cnnjax.ablation.report import answer, tables
from cnnjax.ablation.report.pages import make_context, render, write_report
from tests.ablation.report.test_pages import VOID
from tests.ablation.synthetic_sweep import write_sweep


class Reader(HTMLParser):
    """What a reader sees and jumps to: texts out of pictures, headings, links."""

    def __init__(self, page):
        super().__init__()
        self.open, self.texts, self.headings = [], [], []
        self.ids, self.targets = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self.ids.append(known.get("id"))
        if "svg" not in self.open and known.get("href", "").startswith("#"):
            self.targets.append(known["href"][1:])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.ids.append(dict(attrs).get("id"))

    def handle_endtag(self, tag):
        self.open.pop()

    def handle_data(self, data):
        if not {"svg", "style", "script"} & set(self.open):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = write_sweep(tmp_path_factory.mktemp("runs") / "laptop", seeds=(0, 1, 2))
    write_report(folder)
    return folder


def in_order(text, parts):
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_the_answer_comes_first_then_claims_then_details(report):
    verdicts = judge(collect(report))
    said = answer.answer(answer.headline(verdicts))
    question = collect(report).ablation.question
    page = (report / "report.html").read_text()
    in_order(
        page,
        (
            *("<h1>", question, said, "<svg", '<section id="claims">', "<table"),
            *('id="contents"', 'id="figure1"', 'id="arms"', 'id="setting"'),
        ),
    )
    in_order(
        (report / "report.md").read_text(),
        (
            *(question, said, "plots/answer.png", "## Claims", "| claim |"),
            *("[figures](#figures)", "## Figures", "## Arms", "## Setting"),
        ),
    )
    block = render("readme.md.j2", make_context(collect(report)), autoescape=False)
    in_order(block, (question, said, "plots/answer.png", "| claim |", "| arm |"))


def test_each_claim_is_in_one_table_and_nowhere_else(report):
    verdicts = judge(collect(report))
    page = Reader((report / "report.html").read_text())
    for verdict in verdicts:
        text = verdict.claim.text
        again = verdict is answer.headline(verdicts)
        # Without its full stop the headline is in the answer as well.
        assert page.text.count(text) == 1, text
        assert page.text.count(text.rstrip(".")) == 1 + again, text
        assert page.text.count(verdict.claim.source) >= 1
    assert (report / "report.html").read_text().count("claims</a>") == 1


def test_headings_go_down_one_by_one_and_links_arrive(report):
    page = Reader((report / "report.html").read_text())
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    for above, here in zip(page.headings, page.headings[1:], strict=False):
        assert here <= above + 1
    assert page.targets
    assert set(page.targets) <= set(page.ids)


def claims(**kinds):
    """An ablation of two arms whose training errors are 2.5 and 14, with claims."""
    return Ablation(
        name="toy",
        title="Toy",
        question="Which?",
        source="nobody",
        axes=[Axis("net", {"plain": {}}), Axis.over("depth", "model.depth", [20, 32])],
        arm_name="{net}-{depth}",
        x_axis="depth",
        metrics=["train_error"],
        claims=list(kinds.values()),
        scales={"s": Scale(recipe="r", seeds=3)},
    )


def test_an_effect_has_the_sign_of_its_sentence(tmp_path):
    ablation = claims(
        cost=below("train_error", "plain-20", bound=5.0, source="x"),
        gain=lower("train_error", "plain-20", than="plain-32", margin=3, source="x"),
        wrong=higher("train_error", "plain-20", than="plain-32", source="x"),
    )
    write_sweep(tmp_path, "s", seeds=(0, 1, 2), ablation=ablation)
    sweep = collect(tmp_path)
    values = sweep.values("train_error")
    low, high = (sum(values[f"plain-{d}"].values()) / 3 for d in (20, 32))
    cost, gain, wrong = judge(sweep)
    assert answer.effect(cost) == f"{low:.2f} points"
    assert answer.sign_of_limit(cost) == "< 5"
    assert answer.effect(gain) == f"{high - low:.2f} points"
    assert answer.sign_of_limit(gain) == "> 3"
    assert answer.effect(wrong) == f"−{high - low:.2f} points"
    first, second = answer.interval(cost).split(" to ")
    assert float(first.replace("−", "-")) < low < float(second)
    assert answer.answer(wrong).startswith("The runs contradict “plain-20 has a higher")
    assert "not above 0 points" in answer.answer(wrong)


def test_a_headline_is_the_one_that_is_marked(tmp_path):
    kinds = {
        "first": below("train_error", "plain-20", bound=5.0, source="x"),
        "second": lower(
            "train_error", "plain-20", than="plain-32", source="x", headline=True
        ),
    }
    write_sweep(tmp_path, "s", seeds=(0, 1), ablation=claims(**kinds))
    verdicts = judge(collect(tmp_path))
    assert answer.headline(verdicts) is verdicts[1]
    assert answer.headline(verdicts[:1]) is verdicts[0]
    assert answer.headline([]) is None


@pytest.mark.parametrize("word", WORDS)
def test_every_verdict_makes_a_sentence(report, word):
    verdict = dataclasses.replace(judge(collect(report))[0], verdict=word)
    said = answer.answer(verdict)
    assert verdict.claim.text.rstrip(".") in said
    assert ("These runs do not tell" in said) == (word == "no information")
    endless = dataclasses.replace(verdict.shown, low=-math.inf, high=math.inf)
    assert "∞" not in answer.answer(dataclasses.replace(verdict, shown=endless))
    untested = dataclasses.replace(verdict, contrast=None, shown=None)
    assert untested.reason in answer.answer(untested)
    assert (answer.effect(untested), answer.interval(untested)) == ("–", "")


def test_tables_of_arms_are_as_wide_as_a_page():
    metrics = [f"m{i}" for i in range(12)]
    for published in range(8):
        parts = tables.parts_of(metrics, metrics[:published])
        assert [m for part in parts for m in part] == metrics
        assert len(parts[0]) + published <= max(tables.MOST_COLUMNS, published + 1)
        assert all(0 < len(part) <= tables.MOST_COLUMNS for part in parts)
    assert tables.parts_of(["a"], ()) == [["a"]]


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_every_text_has_the_contrast_that_wcag_asks_for(report, mode):
    """4.5 to 1, of text on the page, in boxes and in warnings."""
    page = (report / "report.html").read_text()
    found = re.findall(r"--(\w+): (#[0-9a-f]{6})", page)
    half = len(found) // 2
    colours = dict(found[mode * half : (mode + 1) * half])
    assert {"page", "box", "warn", "ink", "soft", "yes", "no", "open", "same"} <= {
        *colours
    }
    for ground in ("page", "box", "warn"):
        for text in ("ink", "soft", "yes", "no", "open", "same"):
            pair = sorted(luminance(colours[name]) for name in (ground, text))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (ground, text)
