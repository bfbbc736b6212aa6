"""The definition in plan.json, of this version and of earlier ones."""

import contextlib
import dataclasses
import json
import math

import pytest

from cnnjax.ablation.define import Axis, Gate, Scale
from cnnjax.ablation.define.claim import Claim
from cnnjax.ablation.define.stored import spec_from_dict, spec_to_dict
from cnnjax.errors import UserError
from cnnjax.records import from_line, to_line
from configs import base
from tests.ablation.small_degradation import get_ablation

# As the version of November 2026 wrote it.
EARLIER = {
    "name": "toy",
    "title": "Toy",
    "question": "Does it?",
    "source": "nobody",
    "axes": [
        {
            "name": "norm",
            "values": {"bn": {"norm.kind": "batch"}, "none": {"norm.kind": "none"}},
            "title": "",
        }
    ],
    "x_axis": "norm",
    "series_axis": None,
    "arm_name": "{norm}",
    "metrics": ["test_error"],
    "claims": [
        {
            "name": "none / bn, test error",
            "text": "bn has at most 1 point more test error than none.",
            "source": "nobody",
            "metric": "test_error",
            "contrast": {"none": 1, "bn": -1},
            "margin": -1.0,
            "published": "7.0 % against 6.0 %",
        },
        {
            "name": "none / bn, training error",
            "text": "none has a higher training error than bn.",
            "source": "nobody",
            "metric": "train_error",
            "contrast": {"none": 1, "bn": -1},
            "margin": 0.0,
            "published": None,
        },
    ],
    "scales": {
        "small": {
            "recipe": "r",
            "overrides": {"train.epochs": 1},
            "axes": {"norm": ["bn"]},
            "num_seeds": 2,
            "note": "few digits",
            "as_published": False,
            "also": [{"norm": ["none"]}],
            "jobs": 1,
        }
    },
    "published": [
        {
            "arm": arm,
            "metric": metric,
            "value": 7.0,
            "source": "Fig. 1",
            "note": "10 crops",
        }
        for arm, metric in [
            ("bn", "train_error"),
            ("none", "train_error"),
            ("gone", "test_error"),
        ]
    ],
    "background": "",
    "limits": "",
    "diverged_error": None,
}


def test_a_plan_of_an_earlier_version_is_read():
    ablation, scale = spec_from_dict({"ablation": EARLIER, "scale": "small"})
    assert [arm.name for arm in ablation.arms(scale)] == ["bn", "none"]
    assert ablation.scale("small").seeds == 2
    assert [number.note for number in ablation.published_numbers] == ["10 crops"] * 3
    kept, unquoted = ablation.claims
    assert (kept.margin, kept.published) == (-1.0, "7.0 % against 6.0 %")
    # Numbers whose data are not recorded are never compared.
    assert ablation.evidence(unquoted) is None
    written = spec_to_dict(ablation, scale)["ablation"]
    for key in EARLIER.keys() - {"published"}:
        assert written[key] == EARLIER[key], key


def test_the_spec_survives_json():
    ablation = get_ablation()
    for scale in ablation.scales:
        written = json.dumps(spec_to_dict(ablation, scale))
        read, name = spec_from_dict(json.loads(written))
        assert name == scale
        assert json.dumps(spec_to_dict(read, name)) == written
        assert read.arms(scale) == ablation.arms(scale)


def test_what_later_versions_can_say_survives_json():
    ablation = get_ablation()
    gate = Gate(at_most=0.1, because="it can be fitted", control="plain-20")
    scale = dataclasses.replace(ablation.scale("laptop"), gate=gate)
    first, *others = ablation.claims
    said = dataclasses.replace(
        first,
        matters=0.5,
        because="half of the effect",
        headline=True,
        test="wilcoxon",
        failures="counted",
    )
    changed = dataclasses.replace(
        ablation,
        claims=[said, *others],
        scales=ablation.scales | {"laptop": scale},
        failed_above=81.0,
        diverged_error=90.0,
        failure_test="mcnemar",
    )
    stored = json.loads(json.dumps(spec_to_dict(changed, "laptop")))
    read, name = spec_from_dict(stored)
    assert read.scale(name).gate == gate
    # The numbers of the source are quoted when a plan is stored.
    quoted = dataclasses.replace(said, published=ablation.evidence(said))
    assert read.claims[0] == quoted
    assert (read.failed_above, read.failure_test) == (81.0, "mcnemar")
    # Without them the stored form is that of before.
    old = spec_to_dict(ablation, "laptop")["ablation"]
    assert "failed_above" not in old
    assert "gate" not in old["scales"]["laptop"]
    assert set(old["claims"][0]) == set(EARLIER["claims"][0])


def test_any_of_its_names_may_read_like_a_number():
    """JSON has no NaN: records write it as a text, which is a name as well."""
    labels = ("NaN", "Infinity", "-Infinity")
    grid, contrast = {"NaN": labels[:2]}, {"NaN": 1, "Infinity": -1}
    ablation = dataclasses.replace(
        get_ablation(),
        name="NaN",
        axes=[Axis("NaN", {x: {"optimizer.clip_norm": math.inf} for x in labels})],
        arm_name="{NaN}",
        x_axis="NaN",
        series_axis=None,
        scales={"NaN": Scale(recipe="resnet_digits", seeds=1, grids=[grid])},
        claims=[
            Claim(
                name="NaN",
                text="Infinity",
                source="he",
                metric="test_error",
                contrast=contrast,
                published="-Infinity",
            )
        ],
        published=(),
    )
    stored = from_line(to_line(spec_to_dict(ablation, "NaN")))
    read, _ = spec_from_dict(stored)
    assert read.name == "NaN"
    assert read.arms("NaN") == ablation.arms("NaN")
    assert read.claims == ablation.claims


def test_claims_are_stored_with_the_numbers_that_they_quote():
    stored = spec_to_dict(get_ablation(), "smoke")["ablation"]["claims"]
    quoted = {claim["name"]: claim["published"] for claim in stored}
    assert quoted["plain degrades"] == "the order only (curves)"
    numbers = "13.0 % (plain-56), 9.0 % (plain-20)"
    setting = "CIFAR-10, approximate, read off the curves"
    assert quoted["plain degrades, test"] == f"{numbers}; {setting}"
    # Read off curves on one side, printed on the other.
    assert quoted["shortcuts help, test"] is None


@pytest.mark.parametrize(
    "change", [{"colour": "blue"}, {"scales": {"small": {"recipe": "r"}}}]
)
def test_a_spec_of_another_version_is_one_sentence(change):
    name = next(iter(change))
    missing = "axes" if name == "scales" else name
    with pytest.raises(UserError, match=rf"plan\.json.*{missing}"):
        spec_from_dict({"ablation": EARLIER | change, "scale": "small"})


def test_an_arm_may_take_another_net():
    nets = {"residual": {}, "mlp": {"model": base.model_section("mlp", widths=(64,))}}
    ablation = dataclasses.replace(
        get_ablation(),
        axes=[Axis("net", nets), Axis.over("rate", "schedule.learning_rate", [0.1])],
        arm_name="{net}",
        x_axis="rate",
        scales={"smoke": Scale(recipe="resnet_digits", seeds=1)},
        claims=(),
        published=(),
    )
    written = json.loads(json.dumps(spec_to_dict(ablation, "smoke")))
    read = spec_from_dict(written)[0].arms("smoke")
    assert [arm.name for arm in read] == list(nets)
    assert read[1].overrides["model"]["widths"] == [64]


def test_a_claim_without_a_source_is_still_read():
    claims = [EARLIER["claims"][0] | {"source": ""}]
    published = [EARLIER["published"][0] | {"source": ""}]
    plan = EARLIER | {"claims": claims, "published": published}
    read, _ = spec_from_dict({"ablation": plan, "scale": "small"})
    (claim,), (number,) = read.claims, read.published_numbers
    assert claim.source == number.source == "not recorded"


JUNK = [None, True, -1, 1.5, 10**400, float("nan"), "", "../x", "\0", [], [[]], {}]


def _places(value, path=()):
    """The path of everything within a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, inner in items:
        yield from _places(inner, (*path, key))


def _replaced(value, path, junk):
    """A copy of a JSON value with something else at a path."""
    if not path:
        return junk
    copy = value.copy()
    copy[path[0]] = _replaced(copy[path[0]], path[1:], junk)
    return copy


def test_a_spec_with_anything_anywhere_is_read_or_one_sentence():
    spec = {"ablation": EARLIER, "scale": "small"}
    for path in _places(spec):
        for junk in JUNK:
            with contextlib.suppress(UserError):
                ablation, scale = spec_from_dict(_replaced(spec, path, junk))
                assert all(".." not in arm.name for arm in ablation.arms(scale))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../docs"},
        {"arm_name": "../{norm}"},
        {"arm_name": "{norm}/../.."},
        {"scales": {"../small": EARLIER["scales"]["small"]}},
    ],
)
def test_names_of_a_stored_spec_are_checked(change):
    scale = next(iter(change.get("scales", {"small": None})))
    with pytest.raises(UserError, match=r"plan\.json .*has the character '/'"):
        spec_from_dict({"ablation": EARLIER | change, "scale": scale})


def test_a_number_of_seeds_among_the_overrides_of_before_is_left_out():
    small = EARLIER["scales"]["small"]
    scales = {"small": small | {"overrides": {"seeds.count": 3, "train.epochs": 1}}}
    read, _ = spec_from_dict(
        {"ablation": EARLIER | {"scales": scales}, "scale": "small"}
    )
    assert read.scale("small").overrides == {"train.epochs": 1}
