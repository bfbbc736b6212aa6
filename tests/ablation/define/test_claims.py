import pytest

from cnnjax.ablation.define.claims import (
    above,
    below,
    falls_more,
    higher,
    lower,
    not_higher,
    rises_more,
)
from cnnjax.errors import UserError

SOURCE = "Nobody 2016, Table 1"


def holds(claim, **values):
    """Whether a claim holds for these values of its arms."""
    total = sum(c * values[arm] for arm, c in claim.contrast.items())
    return total > claim.margin


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        (
            higher("test_error", "a", than="b", source=SOURCE),
            "a has a higher test error than b.",
        ),
        (
            higher("test_error", "a", than="b", margin=5, source=SOURCE),
            "The test error of a is more than 5 points higher than that of b.",
        ),
        (
            higher("step_milliseconds", "a", than="b", times=2, source=SOURCE),
            "The time of a step per seed of a is more than 2 times that of b.",
        ),
        (
            lower("train_loss", "a", than="b", margin=0.5, source=SOURCE),
            "The training loss of a is more than 0.5 lower than that of b.",
        ),
        (
            not_higher("train_error", "a", than="b", tolerance=1, source=SOURCE),
            "The training error of a is at most 1 point higher than that of b.",
        ),
        (
            rises_more("test_error", ("a", "b"), than=("c", "d"), source=SOURCE),
            "The test error rises more from a to b than from c to d.",
        ),
        (
            falls_more("test_error", ("a", "b"), than=("c", "d"), source=SOURCE),
            "The test error falls more from a to b than from c to d.",
        ),
        (
            above("step_milliseconds", "a", bound=3, source=SOURCE),
            "The time of a step per seed of a is above 3 ms.",
        ),
    ],
)
def test_a_claim_is_worded_from_its_statement(claim, text):
    assert claim.text == text
    assert claim.source == SOURCE
    assert claim.published is None


def test_a_claim_holds_where_its_sentence_does():
    claim = higher("test_error", "a", than="b", margin=5, source=SOURCE)
    assert [holds(claim, a=a, b=10) for a in (14, 16)] == [False, True]
    claim = higher("step_milliseconds", "a", than="b", times=2, source=SOURCE)
    assert [holds(claim, a=a, b=10) for a in (19, 21)] == [False, True]
    claim = lower("test_error", "a", than="b", margin=5, source=SOURCE)
    assert [holds(claim, a=a, b=10) for a in (6, 4)] == [False, True]
    claim = not_higher("test_error", "a", than="b", tolerance=1, source=SOURCE)
    assert [holds(claim, a=a, b=10) for a in (11.5, 10.5, 9)] == [False, True, True]
    claim = above("gradient_ratio", "a", bound=-1, source=SOURCE)
    assert [holds(claim, a=a) for a in (-1.5, -0.5)] == [False, True]
    claim = below("gradient_ratio", "a", bound=1, source=SOURCE)
    assert [holds(claim, a=a) for a in (1.5, 0.5)] == [False, True]


def test_differences_of_differences_hold_where_their_sentences_do():
    arms = {"change": ("a", "b"), "than": ("c", "d"), "source": SOURCE}
    up, down = (make("test_error", **arms) for make in (rises_more, falls_more))
    assert holds(up, a=1, b=5, c=2, d=3)
    assert not holds(up, a=1, b=5, c=2, d=9)
    assert holds(down, a=5, b=1, c=3, d=2)
    assert not holds(down, a=5, b=1, c=9, d=2)
    # An arm of both changes, as on a learning curve.
    arms = {"change": ("few", "some"), "than": ("some", "many"), "source": SOURCE}
    curve = falls_more("test_error", **arms)
    assert curve.contrast == {"few": 1, "some": -2, "many": 1}


def test_a_definition_may_give_words_of_its_own():
    claim = higher(
        "test_error",
        "a",
        than="b",
        source=SOURCE,
        name="short",
        sentence="Without norm the test error is higher.",
        published="in words",
    )
    assert (claim.name, claim.published) == ("short", "in words")
    assert claim.text == "Without norm the test error is higher."


def test_the_usual_name_tells_metrics_and_directions_apart():
    claims = [
        higher(metric, first, than=second, source=SOURCE)
        for first, second in (("a", "b"), ("b", "a"))
        for metric in ("test_error", "train_error")
    ]
    assert len({claim.name for claim in claims}) == 4


ARMS = {"metric": "test_error", "arm": "a", "than": "b", "source": SOURCE}


@pytest.mark.parametrize(
    ("make", "keywords", "message"),
    [
        (higher, ARMS | {"metric": "accuracy"}, "unknown metric 'accuracy'"),
        (higher, ARMS | {"margin": -1}, "margin=-1 .* at least 0; see not_higher"),
        (lower, ARMS | {"margin": float("nan")}, "margin=nan"),
        (higher, ARMS | {"times": 0}, "times=0 .* above 0"),
        (
            higher,
            ARMS | {"times": 3, "margin": 2},
            "margin=2 .* left out where `times`",
        ),
        (not_higher, ARMS | {"tolerance": 0}, "tolerance=0 .* above 0"),
        (not_higher, ARMS | {"tolerance": -1}, "tolerance=-1 .* above 0"),
        (higher, ARMS | {"source": ""}, "has no source"),
        (higher, ARMS | {"than": "a"}, "not zero: compare arms that differ"),
        # Squares of it would be infinite.
        (higher, ARMS | {"times": 1e200}, "times=1e.200"),
    ],
)
def test_a_claim_that_says_nothing_is_refused(make, keywords, message):
    with pytest.raises(UserError, match=message) as caught:
        make(**keywords)
    assert "\n" not in str(caught.value)


def test_a_bound_has_the_unit_of_the_metric():
    claim = below("test_error", "a", bound=20, source=SOURCE)
    assert claim.text == "The test error of a is below 20%."
    with pytest.raises(UserError, match="bound=nan of a claim must be a finite number"):
        above("test_error", "a", bound=float("nan"), source=SOURCE)


def test_a_keyword_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match=r"'tolerence': did you mean 'tolerance'"):
        not_higher(**ARMS, tolerance=1, tolerence=1)


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ({"sorce": "nobody"}, "unknown keyword 'sorce': did you mean 'source'"),
        ({"nmae": "short"}, "did you mean 'name'"),
        ({"tims": 2}, "did you mean 'times'"),
        ({"bound": 2}, "unknown keyword 'bound'"),
        ({"margin": "2"}, "margin='2' of a claim must be"),
        ({"times": None}, "times=None of a claim must be"),
        ({"margin": True}, "margin=True"),
        ({"source": str.upper}, "source is <method"),
        ({"name": 5}, "name is 5, but must be a text"),
        ({"published": 7.5}, "published is 7.5, but must be a text"),
        ({"matters": 1.0}, "matters=1.0 and because='': give both"),
        ({"because": "why"}, "give both, the smallest difference that matters"),
        ({"matters": 0, "because": "why"}, "matters=0 must be above 0"),
        ({"matters": "1", "because": "why"}, "matters is '1', but must be a finite"),
        ({"test": "welch"}, "test='welch': one on test_error takes t, sign_flip or"),
        ({"test": "fisher"}, "test='fisher': one on test_error takes"),
        ({"failures": "dropped"}, "failures='dropped': give 'apart' or 'counted'"),
    ],
)
def test_mistakes_in_keywords_are_one_sentence(details, message):
    with pytest.raises(UserError) as caught:
        higher("test_error", "a", than="b", **({"source": "nobody"} | details))
    assert message in str(caught.value)


@pytest.mark.parametrize("change", ["ab", ("a",), ("a", "b", "c"), None])
def test_a_change_is_of_two_arms(change):
    with pytest.raises(UserError, match="must be two arms"):
        rises_more("test_error", change, than=("a", "b"), source="nobody")


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"margin": 5.0}, "compares two arms without a margin"),
        ({"times": 2.0}, "compares two arms without a margin"),
        ({"test": "t"}, "one on failed takes fisher or mcnemar"),
        ({"matters": 5.0, "because": "why"}, "exact test knows no margin"),
    ],
)
def test_a_claim_on_failures_has_an_exact_test(keywords, message):
    claim = higher("failed", "a", than="b", source=SOURCE)
    assert claim.decided_by == "fisher"
    assert claim.text == "a has a higher share of runs that failed to train than b."
    with pytest.raises(UserError, match=message):
        higher("failed", "a", than="b", source=SOURCE, **keywords)


def test_what_of_a_failed_run_is_no_number_is_not_counted():
    with pytest.raises(UserError, match="test_loss of a failed run is no number"):
        higher("test_loss", "a", than="b", source=SOURCE, failures="counted")


def test_a_tolerance_says_what_matters():
    with pytest.raises(UserError, match="has a tolerance, which says what matters"):
        not_higher(**ARMS, tolerance=1, matters=1, because="why")


def test_the_sign_of_a_sentence():
    """From the contrast that is above its margin to the effect that is spoken of."""
    claims = [
        higher(**ARMS),
        lower(**ARMS),
        not_higher(**ARMS, tolerance=1.0),
        above("gradient_ratio", "a", bound=-1.0, source=SOURCE),
        below("test_error", "a", bound=5.0, source=SOURCE),
        below("gradient_ratio", "a", bound=-1.0, source=SOURCE),
        rises_more("test_error", ("a", "b"), than=("c", "d"), source=SOURCE),
    ]
    assert [claim.sign for claim in claims] == [1, 1, -1, 1, -1, -1, 1]
