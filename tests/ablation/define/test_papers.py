import dataclasses

import pytest

from cnnjax.ablation.define.papers import Paper, Published, matching_numbers
from cnnjax.errors import UserError

HE = Paper("He et al. 2015, arXiv 1512.03385")
TABLE = Published(
    source=HE.at("Table 2"),
    metric="test_error",
    data="ImageNet",
    protocol="10 crops",
    values={"plain-18": 27.9, "plain-34": 28.54},
)


def test_a_paper_is_cited_with_its_place():
    assert f"{HE}" == "He et al. 2015, arXiv 1512.03385"
    assert HE.at("Table 6") == "He et al. 2015, arXiv 1512.03385, Table 6"


def test_a_paper_without_a_year_is_refused():
    with pytest.raises(UserError, match=r"'He et al.*no year"):
        Paper("He et al., arXiv 1512.03385")


def test_numbers_are_quoted_with_equal_decimals_and_their_setting():
    words = "28.54 % (plain-34), 27.90 % (plain-18); ImageNet, 10 crops"
    assert TABLE.quote("plain-34", "plain-18") == words
    with pytest.raises(UserError, match="did you mean 'plain-34'"):
        TABLE.quote("plain-35")


@pytest.mark.parametrize(
    ("other", "matches"),
    [
        ({}, True),
        ({"source": HE.at("Table 3")}, True),
        ({"metric": "train_error"}, False),
        ({"data": "CIFAR-10"}, False),
        ({"protocol": "one crop"}, False),
        ({"values": {"residual-50": 22.85}}, False),
    ],
)
def test_numbers_match_in_metric_data_and_protocol(other, matches):
    second = dataclasses.replace(TABLE, **({"values": {"residual-34": 25.03}} | other))
    arms = ["plain-34", "residual-34"]
    found = matching_numbers(arms, "test_error", [TABLE, second])
    assert [number.arm for number in found] == (arms if matches else [])


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"metric": "error"}, "unknown metric 'error'"),
        ({"data": ""}, "has no data"),
        ({"source": ""}, "has no source"),
    ],
)
def test_a_number_needs_metric_source_and_data(missing, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(TABLE, **missing)


@pytest.mark.parametrize("value", ["7.5", None, True, float("nan"), 10**400, [7.5]])
def test_a_published_value_is_a_number(value):
    with pytest.raises(UserError, match=r"the value of 'a' is .* a finite number"):
        Published(source="X 2020", metric="test_error", data="d", values={"a": value})


@pytest.mark.parametrize("values", [{5: 7.5}, [7.5], "7.5", None])
def test_published_values_are_of_arms(values):
    with pytest.raises(UserError, match="must be a"):
        Published(source="X 2020", metric="test_error", data="d", values=values)
