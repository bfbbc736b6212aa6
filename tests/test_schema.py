"""Kinds of values: what fits, what is left of what does not, and how it is told."""

import math

import pytest

from cnnjax.record_kinds import ARM, PLAN, PROVENANCE, RESULT
from cnnjax.records import from_line, to_line
from cnnjax.run.trained.kinds import CLASSES
from cnnjax.schema import (
    HOLE,
    Flag,
    Items,
    Maybe,
    Name,
    Number,
    Object,
    Table,
    Text,
)

HUGE = 10**400
FITS = [
    (Number(), [0, -1.5, 2**63, 1e99]),
    (Number(0, 100), [0, 100, 33.3]),
    (Number(0, non_finite=True), [0.5, math.nan, math.inf, -math.inf]),
    (Number(0, 9, whole=True), [0, 9]),
    (Text(most=3), ["", "abc"]),
    (Text(of=("a", "b")), ["a"]),
    (Name("arm"), ["plain-8", "0.1"]),
    (Flag(), [True, False]),
    (Maybe(Text()), [None, "a"]),
    (Items(Number(), least=1, most=2), [[1], [1, 2.5]]),
    (Table(Number()), [{}, {"any": 1}]),
    (Object({"a": Flag()}, {"b": Text()}), [{"a": True}, {"a": True, "c": [HUGE]}]),
]
MISFITS = [
    (Number(), [HUGE, 1e200, math.inf, math.nan, True, None, "1", [], {}]),
    (Number(0, 100), [-5, 100.1, 795, HUGE, math.nan]),
    (Number(0, non_finite=True), [-1, HUGE]),
    (Number(0, 9, whole=True), [1.0, 10, -1, True, math.nan]),
    (Text(most=3), ["abcd", 1, None]),
    (Text(of=("a", "b")), ["c"]),
    (Name("arm"), ["../up", "", "/abs", ".", "report.html", "a" * 101, 1, "<b>"]),
    (Flag(), [0, "true", None]),
    (Items(Number(), least=1, most=2), [[], [1, 2, 3], [1, "a"], "ab", {}]),
    (Table(Number()), [[], 1, None]),
    (Object({"a": Flag()}), [{}, {"a": 1}, [], "a", None]),
]


@pytest.mark.parametrize(("kind", "values"), FITS)
def test_what_fits_stays(kind, values):
    for value in values:
        flaws = []
        assert kind.sift(value, "here", flaws) is value or not flaws
        assert flaws == []


@pytest.mark.parametrize(("kind", "values"), MISFITS)
def test_what_does_not_fit_is_a_hole_and_is_told(kind, values):
    for value in values:
        flaws = []
        assert kind.sift(value, "here", flaws) is HOLE
        assert flaws
        assert all("here" in flaw and len(flaw) < 300 for flaw in flaws)


def test_objects_and_tables_lose_what_does_not_fit():
    kind = Object({"a": Number()}, {"b": Text(), "t": Table(Number(0, 100))})
    value = {"a": 1, "b": 2, "t": {"x": 795, "y": 5}, "other": None}
    flaws = []
    assert kind.sift(value, "", flaws) == {"a": 1, "t": {"y": 5}, "other": None}
    assert flaws == [
        "b is 2, not a text",
        "t.x is 795, not a number from 0 to 100",
    ]


def test_fields_may_have_to_agree():
    kind = Object({"a": Number()}, agrees=lambda row: "is odd" if row["a"] % 2 else "")
    flaws = []
    assert kind.sift({"a": 2}, "row", flaws) == {"a": 2}
    assert kind.sift({"a": 3}, "row", flaws) is HOLE
    assert flaws == ["row is odd"]


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_a_text_that_reads_like_a_number_stays_a_text(name):
    result = {"status": "done", "arm": name, "final": {name: {"loss": math.inf}}}
    arm = {"name": name.strip("-"), "axes": {"NaN": name}}
    cell = {"name": arm["name"], "seeds": [0], "fold": None}
    cell |= {"config_hash": name, "data_hash": name}
    arm |= {"num_params": 1, "multiply_adds": 1, "steps": 1, "epochs": 1}
    plan = {"seeds": [0], "arms": [arm | {"cells": [cell]}], "ablation": arm["name"]}
    plan |= {"spec": {"ablation": {}, "scale": name}}
    provenance = {"data": {"fingerprint": name, "name": name}, "git_commit": name}
    for kind, value in (
        (RESULT, result),
        (PLAN, plan),
        (PROVENANCE, provenance),
        (CLASSES, [name, "cat"]),
    ):
        flaws = []
        assert kind.sift(from_line(to_line(value)), "", flaws) == value
        assert flaws == []


@pytest.mark.parametrize(
    ("cells", "flaw"),
    [
        ([("a/fold-0", 0, [0, 1]), ("a/fold-0/seeds-2", 0, [2]), ("a", 1, [0])], None),
        ([("a", 0, [0]), ("a", 1, [0]), ("a", 2, [0])], "it has two cells 'a'"),
        ([("a", None, [0, 0, 0])], "it has seed 0 twice"),
        ([("a", 1, [0, 1]), ("a/seeds-1", 1, [1])], "it has seed 1 of fold 1 twice"),
    ],
)
def test_no_run_of_a_plan_counts_twice(cells, flaw):
    arm = {"num_params": 1, "multiply_adds": 1, "steps": 1, "epochs": 1, "axes": {}}
    hashes = {"config_hash": "c", "data_hash": "d"}
    listed = [dict(zip(("name", "fold", "seeds"), c, strict=True)) for c in cells]
    flaws = []
    ARM.sift(arm | {"name": "a", "cells": [c | hashes for c in listed]}, "", flaws)
    assert flaws == ([flaw] if flaw else [])


def test_keys_of_tables_are_checked():
    flaws = []
    names = Table(Number(), key=Name("probe"))
    assert names.sift({"shift": 1, "../../x": 2}, "probes", flaws) == {"shift": 1}
    assert "probes: probe '../../x'" in flaws[0]
