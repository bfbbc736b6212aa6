import dataclasses

import pytest

from cnnjax.ablation.define import Ablation, Axis, Gate, Published, Scale, higher
from cnnjax.ablation.define.stored import spec_from_dict, spec_to_dict
from cnnjax.config import load_recipe, override
from cnnjax.errors import UserError
from configs import base
from tests.ablation.small_degradation import get_ablation


def _ablation(**changes) -> Ablation:
    fields = {
        "name": "toy",
        "title": "Toy",
        "question": "Does it?",
        "source": "nobody",
        "axes": [
            Axis.over("norm", "norm.kind", {"bn": "batch", "none": "none"}),
            Axis.over("depth", "model.depth", [8, 14]),
        ],
        "x_axis": "depth",
        "series_axis": "norm",
        "arm_name": "{norm}-{depth}",
        "metrics": ("train_error", "test_error"),
        "claims": [higher("test_error", "none-8", than="bn-8", source="nobody")],
        "scales": {
            "small": Scale(
                recipe="r",
                seeds=2,
                grids=[{"depth": [8]}],
                overrides={"train.epochs": 1},
            ),
            "large": Scale(recipe="r", seeds=5),
        },
    }
    return Ablation(**(fields | changes))


def test_arms_are_the_product_of_the_labels_of_the_scale():
    names = [arm.name for arm in _ablation().arms("large")]
    assert names == ["bn-8", "bn-14", "none-8", "none-14"]
    (first, second) = _ablation().arms("small")
    assert first.axes == {"norm": "bn", "depth": "8"}
    assert second.overrides == {
        "train.epochs": 1,
        "norm.kind": "none",
        "model.depth": 8,
    }


def test_a_label_wins_over_the_scale():
    scales = {"s": Scale(recipe="r", seeds=1, overrides={"model.depth": 99})}
    arm = _ablation(scales=scales).arms("s")[0]
    assert arm.overrides["model.depth"] == 8


def test_one_axis_without_series_makes_an_ablation():
    axis = Axis("placement", {"pre": {"model.placement": "pre"}, "post": {}})
    ablation = _ablation(
        axes=(axis,),
        x_axis="placement",
        series_axis=None,
        arm_name="{placement}",
        claims=(),
        scales={"s": Scale(recipe="r", seeds=1)},
    )
    assert [arm.name for arm in ablation.arms("s")] == ["pre", "post"]


def _claim(arm):
    return higher("test_error", arm, than="bn-8", source="nobody")


def _scale(seeds=1, **grid):
    return {"s": Scale(recipe="r", seeds=seeds, grids=[grid])}


def _gated(gate):
    return {"s": Scale(recipe="r", seeds=1, gate=gate)}


def _headline(arm):
    return higher("test_error", arm, than="bn-8", source="nobody", headline=True)


def _counting(arm):
    return dataclasses.replace(_claim(arm), failures="counted")


def _published(*arms):
    return [
        Published(source="nobody", metric="test_error", data="d", values={arm: 1.0})
        for arm in arms
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_axis": "dept"}, "did you mean 'depth'"),
        ({"series_axis": "nrom"}, "did you mean 'norm'"),
        ({"arm_name": "{norm}-{deep}"}, "unknown axis 'deep'"),
        ({"arm_name": "{norm}"}, "2 arms are named 'bn'"),
        ({"metrics": ["tst_error"]}, "did you mean 'test_error'"),
        ({"metrics": []}, "at least one metric"),
        ({"metrics": "test_error"}, "must be a list"),
        ({"claims": [_claim("bn-9")]}, "unknown arm 'bn-9'"),
        ({"claims": [_claim("none-8")] * 2}, "two claims share a name"),
        ({"published": _published("none-9")}, "unknown arm 'none-9'"),
        ({"published": _published("bn-8", "bn-8")}, "two published numbers"),
        ({"scales": _scale(depth=[9])}, "label of 'depth'"),
        ({"scales": _scale(width=[9])}, "unknown axis 'width'"),
        ({"scales": _scale(seeds=0)}, "at least 1"),
        (
            {"axes": [Axis.over("norm", "a", [1]), Axis.over("depth", "a", [2])]},
            "both set 'a'",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(UserError, match=r"toy\.py") as caught:
        _ablation(**changes)
    assert message in str(caught.value)


def test_an_unknown_scale_names_its_near_match():
    with pytest.raises(UserError, match=r"did you mean 'small'.*--scale"):
        _ablation().arms("smal")


def test_degradation_has_twins_at_every_scale():
    ablation = get_ablation()
    assert len(ablation.arms("smoke")) == 4
    assert len(ablation.arms("laptop")) == 8
    assert len(ablation.arms("paper")) == 10
    for scale in ablation.scales:
        arms = {arm.name: dict(arm.overrides) for arm in ablation.arms(scale)}
        for name, overrides in arms.items():
            twin = arms[name.replace("plain", "residual")]
            assert overrides | {"model.residual": True} == twin


def test_an_arm_of_two_grids_is_run_once():
    grids = [{"net": ["plain"], "depth": [8, 14]}, {"depth": [14]}]
    scale = Scale(recipe="resnet_digits", seeds=1, grids=grids)
    ablation = dataclasses.replace(
        get_ablation(), scales={"two": scale}, claims=(), published=()
    )
    names = [arm.name for arm in ablation.arms("two")]
    assert names == ["plain-8", "plain-14", "residual-14"]


def test_a_claim_is_posed_where_all_its_arms_are_run():
    ablation = get_ablation()
    assert ablation.posed("smoke") == []
    assert ablation.posed("laptop") == list(ablation.claims)


def with_claims(**changes):
    ablation = get_ablation()
    scale = dataclasses.replace(ablation.scale("laptop"), **changes)
    return dataclasses.replace(ablation, scales={**ablation.scales, "laptop": scale})


def test_a_scale_may_name_its_claims():
    names = [claim.name for claim in get_ablation().claims[1:3]]
    ablation = with_claims(claims=names)
    assert [claim.name for claim in ablation.posed("laptop")] == names
    again, scale = spec_from_dict(spec_to_dict(ablation, "laptop"))
    assert [claim.name for claim in again.posed(scale)] == names
    with pytest.raises(UserError, match="unknown claim 'depht'"):
        with_claims(claims=["depht"])
    with pytest.raises(UserError, match=r"is to decide the claim .* lacks one of its"):
        with_claims(claims=names, grids=[{"net": ["plain"]}])


def test_the_config_takes_the_net_of_an_arm():
    mlp = base.model_section("mlp", widths=(64,))
    ablation = dataclasses.replace(
        get_ablation(),
        axes=[Axis("net", {"mlp": {"model": mlp}})],
        arm_name="{net}",
        x_axis="net",
        series_axis=None,
        scales={"smoke": Scale(recipe="resnet_digits", seeds=1)},
        claims=(),
        published=(),
    )
    config = load_recipe("resnet_digits")
    override(config, ablation.arms("smoke")[0].overrides)
    assert config.model.name == "mlp"
    assert set(config.model) == set(mlp)
    assert config.model.widths == (64,)


def _axes(*values, name="depth", title=""):
    norm = Axis.over("norm", "norm.kind", {"bn": "batch", "none": "none"})
    return [norm, Axis(name, {v: {"model.depth": 8} for v in values}, title)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../toy"}, "ablation '../toy'"),
        ({"name": 5}, "ablation 5 must be a text"),
        ({"axes": []}, "axis"),
        ({"axes": _axes()}, "no labels"),
        ({"axes": _axes("8", "a/b")}, "label 'a/b' has the character '/'"),
        ({"axes": _axes(8)}, "label 8 must be a text"),
        ({"axes": _axes("8", name="se ed/")}, "axis 'se ed/'"),
        ({"axes": [*_axes("8"), *_axes("8")]}, "two axes share a name"),
        ({"axes": [{"name": "depth"}]}, "must be of Axis"),
        ({"axes": [Axis("depth", {"8": 5})]}, "must be a mapping"),
        ({"axes": _axes("8", title="$x_1^$")}, "cannot be drawn as mathematics"),
        ({"axes": _axes("8", title=5)}, "title is 5, but must be a text"),
        ({"arm_name": "../{norm}-{depth}"}, "arm '../bn-8'"),
        ({"arm_name": "/{norm}-{depth}"}, "arm '/bn-8'"),
        ({"arm_name": "{norm}-{depth}.html"}, "means something else already"),
        ({"arm_name": "{norm}-{depth"}, "arm_name='{norm}-{depth' cannot be filled"),
        ({"arm_name": "{}-{norm}-{depth}"}, "cannot be filled in"),
        ({"arm_name": "{norm!z}-{depth}"}, "cannot be filled in"),
        ({"arm_name": "{norm:>999999999}-{depth}"}, "'>999999999' behind a colon"),
        ({"arm_name": "{norm:{depth}}-{depth}"}, "behind a colon"),
        ({"axes": _axes(*map(str, range(5001)))}, "a grid has 10,002 arms"),
        ({"axes": _axes("8", title="$x$" + 70 * "x")}, "at most 70 characters"),
        ({"axes": _axes("8", title="$x$\x1b")}, "one line"),
        ({"scales": {"a/b": Scale(recipe="r", seeds=1)}}, "scale 'a/b'"),
        ({"scales": {"s": {"recipe": "r"}}}, "must be of Scale"),
        ({"scales": _scale(seeds="2")}, "seeds is '2', but must be a whole number"),
        ({"scales": _scale(seeds=True)}, "seeds is True"),
        (
            {"scales": {"s": Scale(recipe="r", seeds=1, overrides={"seeds.count": 3})}},
            "sets 'seeds.count', which does nothing",
        ),
        ({"metrics": [None]}, "one of metrics is None"),
        ({"claims": [_claim("none-8")] * 2}, "tell them apart by name="),
        ({"claims": ["it is better"]}, "must be of Claim"),
        ({"diverged_error": "90"}, "diverged_error is '90'"),
        ({"failed_above": "90"}, "failed_above is '90'"),
        ({"failure_test": "fishr"}, "did you mean 'fisher'"),
        ({"failure_test": None}, "failure_test is None, but must be a text"),
        ({"claims": [_headline("bn-14"), _headline("none-8")]}, "keep one"),
        ({"claims": [_counting("none-8")]}, "say by diverged_error= of the ablation"),
        ({"scales": _gated({"at_most": 0.1})}, "one of gate is {"),
        ({"scales": _gated(Gate(at_most=0.1, because=""))}, "without a reason"),
        ({"scales": _gated(Gate(at_most="0", because="b"))}, "at_most of its gate is"),
        (
            {"scales": _gated(Gate(at_most=0.1, because="b", control="bn-9"))},
            "unknown control of its gate 'bn-9'",
        ),
        (
            {"scales": _gated(Gate(at_most=0.1, because="b", metric="test_error"))},
            "unknown metric of its gate 'test_error'",
        ),
        ({"title": 5}, "title is 5, but must be a text"),
    ],
)
def test_what_is_refused_is_one_sentence(changes, message):
    with pytest.raises(
        UserError, match=r"toy\.py|^5\.py|'\.\./toy'|ablation 5"
    ) as caught:
        _ablation(**changes)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        ([], "grids is empty"),
        ({"depth": [8]}, "must be a list"),
        ([{"depth": []}], "no label of 'depth'"),
        ([{"depth": "8"}], "must be a list"),
        ([{"depth": 8}], "must be a list"),
        ([["depth"]], "must be a mapping"),
        (None, "must be a list"),
    ],
)
def test_a_grid_without_arms_is_refused(grids, message):
    with pytest.raises(UserError, match=message):
        Scale(recipe="r", seeds=1, grids=grids)


def test_names_that_differ_in_case_alone_are_refused():
    axes = [
        Axis.over("norm", "norm.kind", {"bn": "batch"}),
        Axis("depth", {"a": {}, "A": {"model.depth": 8}}),
    ]
    with pytest.raises(UserError, match="know no case"):
        _ablation(axes=axes, claims=(), scales={"s": Scale(recipe="r", seeds=1)})


def test_labels_may_be_padded_in_names():
    ablation = _ablation(arm_name="{norm}-{depth:0>3}", claims=())
    assert [arm.name for arm in ablation.arms("small")] == ["bn-008", "none-008"]


@pytest.mark.parametrize("title", ["", "rate in $", r"\$5 or $x^2$", "$\\sigma$ (%)"])
def test_titles_with_and_without_mathematics(title):
    axes = _axes("8", title=title)
    _ablation(axes=axes, scales={"s": Scale(recipe="r", seeds=1)})
