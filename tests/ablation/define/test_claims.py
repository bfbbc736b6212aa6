import pytest

from cnnjax.ablation.define.claims import higher


@pytest.mark.parametrize(
    ("metric", "margin", "text"),
    [
        ("test_error", 0.0, "a has a higher test error than b."),
        ("test_error", 5.0, "a has a higher test error than b, by more than 5 points."),
        ("train_error", -1.0, "b has at most 1 point more training error than a."),
        (
            "step_milliseconds",
            2.0,
            "a has a higher time of a step per seed than b, by more than 2 ms.",
        ),
        ("train_loss", -0.5, "b has at most 0.5 more training loss than a."),
    ],
)
def test_the_words_say_what_the_contrast_and_margin_test(metric, margin, text):
    claim = higher("a", "b", metric, "Paper 2016, Table 1", margin, "1 against 2")
    assert claim.text == text
    # Above -1 means that b - a is below 1.
    assert (claim.contrast, claim.margin) == ({"a": 1, "b": -1}, margin)
    assert (claim.metric, claim.published) == (metric, "1 against 2")
    assert claim.source == "Paper 2016, Table 1"


def test_the_name_tells_metrics_and_directions_apart():
    claims = [
        higher(first, second, metric, "s")
        for first, second in (("a", "b"), ("b", "a"))
        for metric in ("test_error", "train_error")
    ]
    assert len({claim.name for claim in claims}) == 4


def test_published_numbers_are_quoted_where_both_arms_have_one():
    numbers = {"a": 6.61, "b": 6.37}
    claim = higher("a", "b", "test_error", "s", published=numbers)
    assert claim.published == "6.61 % against 6.37 %"
    assert higher("a", "c", "test_error", "s", published=numbers).published is None
