"""Every number that README and docs show comes from a file that a command writes.

Tables, ratios and verdicts stand in blocks that commands write; here each block of a
benchmark is compared with its file (those of reports: `test_definition.py`). A measure
outside of a block is a constant of the code, arithmetic, or quoted: the tables below
say which, and a new one without a source fails.
"""

import csv
import dataclasses
import re
from pathlib import Path

import pytest

from benchmarks.agreement import compare as agreement
from benchmarks.nets import NETS
from benchmarks.rows import summary, to_markdown
from cnnjax.records import read_json
from cnnjax.texts import block

ROOT = Path(__file__).parents[1]
BENCHMARKS = sorted((ROOT / "docs/benchmarks").glob("*.json"))
BLOCK = re.compile(r"<!-- begin (\S+) -->.*?<!-- end \1 -->", re.DOTALL)
CODE = re.compile(r"```.*?```", re.DOTALL)
MEASURE = re.compile(
    r"(?<![\w.-])[\d,.]*\d ?(?:%|(?:s|ms|us|min|h|hours?|minutes?|seconds?|times"
    r"|points?|[kMG]i?B|images/s|GFLOP|TFLOP)\b)"
)
# `docs/lecture_errata.md` is arithmetic, tested in `tests/analysis`.
PAGES = (
    "README.md",
    *sorted(
        str(path.relative_to(ROOT))
        for folder in (ROOT / "docs", ROOT / "docs/tutorials")
        for path in folder.glob("*.md")
        if path.name != "lecture_errata.md"
    ),
)

RESNET50 = 25_557_032  # parameters, as in the table of models
GRADIENTS = 4 * RESNET50
CHECKPOINT = 3 * GRADIENTS  # weights, momentum and best weights
PUBLISH, WATCHDOG = "cnnjax/ablation/report/publish.py", "cnnjax/devices/watchdog.py"
# Page -> measure -> what it is: file and text of a constant; a value that is computed;
# or whom the page quotes.
TOLD = {
    "docs/atlas.md": {"300 kB": (PUBLISH, "MOST_BYTES = 300_000")},
    "docs/benchmarks.md": {
        "15%": ("benchmarks/rows.py", "TOLERANCE = 1.15"),
        "2,470 images/s": "github.com/NVIDIA/DeepLearningExamples",
    },
    "docs/scaling.md": {
        "4 s": (WATCHDOG, "LOST_AFTER_FAILURE_SECONDS = 4.0"),
        "20 s": (WATCHDOG, "LOST_AFTER_SECONDS = 20.0"),
        "2 s": ("cnnjax/run/programs.py", "about two seconds of training"),
        "102 MB": GRADIENTS / 1e6,
        "25 GB": "for example",
        "8 ms": 2 * GRADIENTS / 25e9 * 1e3,
        "30 us": "for example",
        "6 ms": 53 * 4 * 30e-3,  # norms, sums of each, microseconds
        "5 MB": 4 * 1_281_167 / 1e6,
        "1.2 GB": 4 * 300e6 / 1e9,
        "307 MB": CHECKPOINT / 1e6,
        "2.5 GB": 8 * CHECKPOINT / 1e9,
        "31 GB": 100 * CHECKPOINT / 1e9,
    },
    "docs/design.md": {
        "5%": ("cnnjax/ablation/judge/stats.py", "ALPHA = 0.05"),
        "80%": ("cnnjax/ablation/judge/power.py", "POWER = 0.8"),
        "300 kB": (PUBLISH, "MOST_BYTES = 300_000"),
        "0.5 points": ("cnnjax/run/trained/verify.py", "POINTS, SHARE = 0.5, 1e-3"),
        "0.1%": ("cnnjax/run/trained/verify.py", "POINTS, SHARE = 0.5, 1e-3"),
        **dict.fromkeys(
            ("39 MB", "164 MB", "97 MB", "2.0 GB", "10%"), "tried by hand with"
        ),
    },
}
# Of a page, as a measure stands for different things there.
SENTENCES = {
    "a dispatch lasts about 2 s": (
        "cnnjax/run/programs.py",
        "about two seconds of training",
    ),
    "`progress.json` every 2 s": ("cnnjax/run/heartbeat.py", "EVERY_SECONDS = 2.0"),
}
RESULTS = "docs/results/degradation-laptop/results.csv"


def text_of(path):
    return (ROOT / path).read_text()


def by_hand(page):
    """The page without what commands write, and without code."""
    return CODE.sub("", BLOCK.sub("", text_of(page)))


def is_rule(page, measure):
    """Percentages of the design are levels of tests, not measures."""
    return page == "docs/design.md" and measure.endswith("%")


def converged_sentence():
    """The sentence below the first table about training errors of residual nets."""
    text = " ".join(by_hand("docs/first_verdict.md").split())
    (found,) = re.findall(r"[^.]*converge at every depth:.*?have not\.", text)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_a_measure_by_hand_has_a_source(page):
    text = by_hand(page)
    if page == "docs/first_verdict.md":
        text = " ".join(text.split()).replace(converged_sentence(), "")
    for sentence, (file, words) in SENTENCES.items():
        if sentence in text:
            assert words in text_of(file), f"{page}: {sentence}"
            text = text.replace(sentence, "")
    told, found = TOLD.get(page, {}), set(MEASURE.findall(text))
    unknown = {m for m in found - told.keys() if not is_rule(page, m)}
    assert not unknown, f"{page} shows {unknown}: say in this file where they come from"
    assert not told.keys() - found, "of this page, and gone"
    for measure, source in told.items():
        if isinstance(source, tuple):
            assert source[1] in text_of(source[0]), measure
        elif isinstance(source, str):
            assert source in text, measure
        else:
            shown = measure.split()[0]
            assert f"{source:.{len(shown.partition('.')[2])}f}" == shown, measure


def test_which_residual_nets_have_converged():
    """The sentence below the table, against that table."""
    with open(ROOT / RESULTS, newline="") as file:
        rows = list(csv.DictReader(file))
    errors = {}
    for row in rows:
        if row["arm"].startswith("residual"):
            errors.setdefault(row["arm"], []).append(float(row["train_error"]))
    means = {arm: sum(values) / len(values) for arm, values in errors.items()}
    sentence = converged_sentence()
    (most,) = re.findall(r"at most ([\d.]+)%", sentence)
    named = dict(re.findall(r"(residual-\w-\d+) \(([\d.]+)%\)", sentence))
    for arm, mean in means.items():
        if arm in named:
            assert f"{mean:.2f}" == named[arm]
        else:
            assert round(mean, 2) <= float(most), f"{arm}: {mean:.2f}%"
    with_identity = [mean for arm, mean in means.items() if arm.count("-") == 1]
    assert f"{max(with_identity):.2f}" == most


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_table_of_benchmarks_is_that_of_its_file(path):
    stored = read_json(path)
    written = agreement.summary if path.stem == "agreement" else to_markdown
    assert block(text_of("docs/benchmarks.md"), path.stem) == written(stored)
    assert re.fullmatch("[0-9a-f]{40}", stored["commit"])
    now = {case: dataclasses.asdict(net) for case, net in NETS.items()}
    for case, net in stored.get("nets", {}).items():
        assert now.get(case) == net, f"{case} is another net by now: measure it again"


def test_the_sentence_about_speed_is_that_of_its_table():
    stored = read_json(ROOT / "docs/benchmarks/train.json")
    assert block(text_of("README.md"), "speed") == summary(stored)
