"""Texts of others on screens, in Markdown and in CSV."""

import unicodedata

import pytest

from cnnjax.errors import UserError, unknown_name
from cnnjax.texts import MOST_CHARACTERS, csv_cell, markdown, one_line, sentence

PLANES = (*range(0x3100), *range(0xD7F0, 0xE010), *range(0xFE00, 0x10000), 0xE0001)
HIDDEN = [chr(c) for c in PLANES if not chr(c).isprintable()]


def test_nothing_hidden_is_left():
    """Codes of terminals, marks of direction, and what no encoding has."""
    spaces = {c for c in HIDDEN if unicodedata.category(c) == "Zs"}
    assert all(c.isprintable() or c in spaces for c in one_line("a".join(HIDDEN)))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("first\n  second\r\nthird", "first second third"),
        ("user\u202egnp.exe", r"user\u202egnp.exe"),
        ("a\udcffb", r"a\xffb"),
        ("a\x9b31mb", r"a\x9b31mb"),  # the code of terminals in one byte
        ("café  日本 5\xa0%", "café  日本 5\xa0%"),
        (None, "None"),
    ],
)
def test_a_line(text, line):
    assert one_line(text) == line


def test_a_long_sentence_keeps_its_ends():
    text = sentence("start " + "x" * 10**6 + " end")
    assert len(text) <= MOST_CHARACTERS
    assert text.startswith("start x")
    assert text.endswith("x end")


def test_the_message_of_an_error_is_a_sentence():
    error = UserError("no \x1b[31m red\n" + "x" * 10_000 + ": do this")
    assert str(error).startswith(r"no \x1b[31m red xxx")
    assert str(error).endswith("x: do this")
    assert len(str(error)) <= MOST_CHARACTERS
    assert len(str(UserError(f"{error}: {error}: {error}"))) <= MOST_CHARACTERS


def test_names_that_fill_the_screen_are_counted():
    names = [f"a very long name of something {i}" for i in range(30)]
    assert "there are 30 to choose from" in str(unknown_name("a", "b", names, "c"))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("a\\", r"a\\"),
        (r"a\xff", r"a\xff"),
        ("# head\n# line", r"\# head # line"),
        ("<script>", "&lt;script>"),
        ("</td>", "&lt;/td>"),
        ("p < 0.1", "p < 0.1"),
        ("<!-- end x -->", "&lt;!-- end x -->"),
        ("`code`", r"\`code\`"),
        ("![a](http://b)", r"!\[a\](http://b)"),
        ("- item", r"\- item"),
        ("---", r"\---"),
        ("===", r"\==="),
        ("> quote", r"\> quote"),
        ("-0.52", "-0.52"),
        ("step_milliseconds", "step_milliseconds"),
    ],
)
def test_markdown(text, written):
    assert markdown(text) == written


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", " =", "\uff1d"])
def test_no_cell_is_a_formula(start):
    assert csv_cell(f"{start}HYPERLINK(1)").startswith("'")


@pytest.mark.parametrize("value", ["-1.5", "+3", "1e-5", "-inf", 5, None, "", "plain"])
def test_other_cells_stay(value):
    assert csv_cell(value) == value
