"""Many like records in few bytes."""

import math

import pytest

from cnnjax.ablation.judge.compact import (
    common_part,
    merge,
    rest,
    to_columns,
    to_rows,
)
from cnnjax.records import to_line

SAMPLES = [
    [{"a": 1, "b": {"c": [1, 2], "d": "x"}}, {"a": 2, "b": {"c": [1, 2], "d": "y"}}],
    [{"a": None, "b": {}}, {"a": {"c": 1}, "b": {}}],
    [{"a": {"c": 1}}, {"a": None}, {"a": {"d": None, "c": 1}}],
    [{"b": 1, "a": 2}, {"a": 2, "b": 1}],
    [{"a": math.nan, "b": math.inf}, {"a": math.nan, "b": -math.inf}],
    [{"a": [1, 2, {"b": None}]}, {"a": [1, 2, {"b": 0}]}],
    [{"a": 1.0}, {"a": 1}, {"a": True}],
    [{}, {}],
    [{"only": {"one": None}}],
]


@pytest.mark.parametrize("values", SAMPLES)
def test_what_is_shared_is_stored_once_and_comes_back(values):
    common = common_part(values)
    again = [merge(common, rest(value, common)) for value in values]
    # As text, where the order of keys counts, and so do 1, 1.0 and true.
    assert [to_line(value) for value in again] == [to_line(value) for value in values]


def test_little_is_left_of_like_records():
    records = [{"name": "a", "number": i, "inner": {"list": [1] * 99}} for i in (1, 2)]
    assert rest(records[1], common_part(records)) == {"number": 2}


def rows(epochs):
    return [
        {"kind": "eval", "split": "test", "step": 9 * e, "epoch": float(e), "error": e}
        for e in range(1, epochs + 1)
    ]


def test_rows_come_back_in_order_and_a_repeated_step_counts_once():
    train = [{"kind": "train", "step": 9 * e, "epoch": e, "loss": 1.0} for e in (1, 2)]
    given = [*rows(2), *train, rows(2)[1] | {"error": 7.123456789}]
    again = to_rows(to_columns(given, 200))
    assert again == [rows(2)[0], train[0], rows(2)[1] | {"error": 7.123}, train[1]]


@pytest.mark.parametrize("most", [200, 25, 2])
def test_long_curves_are_thinned_evenly_with_both_ends(most):
    (columns,) = to_columns(rows(1000), most).values()
    assert len(columns["step"]) == most
    assert (columns["step"][0], columns["step"][-1]) == (9, 9000)
    gaps = {b - a for a, b in zip(columns["step"], columns["step"][1:], strict=False)}
    assert max(gaps) - min(gaps) <= 9


def test_the_rows_of_all_splits_together_are_few():
    many = rows(1000) + [row | {"split": "train"} for row in rows(300)]
    columns = to_columns(many, 200)
    assert sum(len(of_split["step"]) for of_split in columns.values()) <= 200
    assert to_columns(rows(200), 200) == to_columns(rows(200), 1000)
