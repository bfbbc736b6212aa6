"""Names of others are never paths, markup, formulas, or files that are there."""

import pytest

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.plan import ablation_names
from cnnjax.errors import UserError
from cnnjax.names import check_name, check_names
from cnnjax.probes import PROBES

GOOD = [
    "plain-20",
    "3x3",
    "0.1",
    "full pre",
    "a=1,b=2",
    "x²",
    "café",
    "cafe\u0301",
    "日本",
    "कि",
    "5×5",
    "planned",
]
PATHS = ["../esc", "/abs/path", "a/b", "a\\b", ".", "..", ".hidden", "~root", "C:x"]
CODES = ["a\0b", "a\nb", "a\rb", "a\tb", "\x1b[31m", "\u202eab", "a\u200bb", "\udcff"]
MARKUP = ["<b>", "a|b", "`a`", "$x_1^$", "#a", "*a", "[a](b)", "a&b", "a'b", 'a"b']
SHELL = ["-rf", "=1+1", "+1", "@a", "%a", " a", "a ", "a.", "_a", "a;b", "{net}"]
NOT_TEXT = [None, 5, 0.1, True, b"a", ["a"], {"a": 1}, ""]


@pytest.mark.parametrize("kind", ["ablation", "scale", "axis", "arm", "probe"])
def test_what_names_may_be(kind):
    for name in GOOD:
        assert check_name(kind, name, "here") == name


@pytest.mark.parametrize("name", [*PATHS, *CODES, *MARKUP, *SHELL, *NOT_TEXT])
@pytest.mark.parametrize("kind", ["ablation", "scale", "axis", "arm", "probe"])
def test_what_they_may_not_be_is_one_sentence(kind, name):
    with pytest.raises(UserError, match=f"^here: {kind} ") as caught:
        check_name(kind, name, "here")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["a" * 101, "日" * 67, "a" * 10**6])
def test_a_long_name_is_refused_in_a_short_sentence(name):
    with pytest.raises(UserError, match=f"{len(name)} characters") as caught:
        check_name("arm", name, "here")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            "arm",
            [
                *("report.html", "plan.json", "results.csv", "plots", "launcher"),
                *("seed-0", "config.json", "Report.md", "PLOTS", "work.lock", "plan"),
            ],
        ),
        ("ablation", ["train", "atlas-laptop", "Train"]),
        ("axis", ["arm", "seed", "status", "reason", "fold"]),
        ("probe", ["error", "effects", "curves", "thumbnail"]),
    ],
)
def test_what_is_there_already_is_refused(kind, names):
    for name in names:
        with pytest.raises(UserError, match="already"):
            check_name(kind, name, "here")


def test_labels_are_parts_of_names():
    for label in ("", "-dropout", "-1", "+0.5", "(0.1, 0.2)", *GOOD):
        assert check_name("label", label, "here") == label
    for label in (*PATHS[:4], "C:x", *CODES, *MARKUP[:5], None, 5):
        with pytest.raises(UserError):
            check_name("label", label, "here")


@pytest.mark.parametrize("pair", [("a", "A"), ("café", "cafe\u0301"), ("ß", "SS")])
def test_two_names_that_are_one_file_somewhere(pair):
    with pytest.raises(UserError, match="know no case"):
        check_names("arm", pair, "here")


def test_our_own_names_pass():
    check_names("probe", PROBES, "PROBES")
    check_names("metric", METRICS, "METRICS")
    check_names("ablation", ablation_names(), "configs/ablations")
