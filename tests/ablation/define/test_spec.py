import dataclasses
import json

import pytest

from cnnjax.ablation.define.spec import (
    Ablation,
    Axis,
    Claim,
    Scale,
    spec_from_dict,
    spec_to_dict,
)
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
        "axes": (
            Axis("norm", {"bn": {"norm.kind": "batch"}, "none": {"norm.kind": "none"}}),
            Axis.over("depth", "model.depth", (8, 14)),
        ),
        "x_axis": "depth",
        "series_axis": "norm",
        "arm_name": "{norm}-{depth}",
        "metrics": ("train_error", "test_error"),
        "claims": (Claim("c", "t", "s", "test_error", {"none-8": 1, "bn-8": -1}),),
        "scales": {
            "small": Scale("r", {"train.epochs": 1}, {"depth": ("8",)}, 2),
            "large": Scale("r"),
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
    scales = {"s": Scale("r", {"model.depth": 99})}
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
        scales={"s": Scale("r")},
    )
    assert [arm.name for arm in ablation.arms("s")] == ["pre", "post"]


CLAIM = Claim("c", "t", "s", "test_error", {"bn-8": 1})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_axis": "dept"}, "did you mean 'depth'"),
        ({"series_axis": "nrom"}, "did you mean 'norm'"),
        ({"arm_name": "{norm}-{deep}"}, "unknown axis 'deep'"),
        ({"arm_name": "{norm}"}, "2 arms are named 'bn'"),
        ({"metrics": ("tst_error",)}, "did you mean 'test_error'"),
        (
            {"claims": (dataclasses.replace(CLAIM, contrast={"bn-9": 1}),)},
            "unknown arm that no scale has, 'bn-9'",
        ),
        ({"claims": (dataclasses.replace(CLAIM, contrast={}),)}, "not zero"),
        ({"claims": (dataclasses.replace(CLAIM, contrast={"bn-8": 0}),)}, "not zero"),
        (
            {"claims": (dataclasses.replace(CLAIM, metric="accuracy"),)},
            "unknown metric 'accuracy'",
        ),
        ({"claims": (CLAIM, CLAIM)}, "two claims share a name"),
        ({"scales": {"s": Scale("r", axes={"depth": ("9",)})}}, "label of 'depth'"),
        ({"scales": {"s": Scale("r", axes={"width": ("9",)})}}, "unknown axis 'width'"),
        ({"scales": {"s": Scale("r", num_seeds=0)}}, "at least 1"),
        (
            {"axes": (Axis.over("norm", "a", (1,)), Axis.over("depth", "a", (2,)))},
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


def test_the_spec_survives_json():
    for ablation in (_ablation(), get_ablation()):
        for scale in ablation.scales:
            written = json.dumps(spec_to_dict(ablation, scale))
            read, name = spec_from_dict(json.loads(written))
            assert name == scale
            assert json.dumps(spec_to_dict(read, name)) == written
            assert read.arms(scale) == ablation.arms(scale)


def test_a_spec_of_another_version_is_one_sentence():
    data = spec_to_dict(_ablation(), "small")
    data["ablation"]["colour"] = "blue"
    with pytest.raises(UserError, match=r"plan\.json.*colour"):
        spec_from_dict(data)


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
    first = {"net": ("plain",), "depth": ("8", "14")}
    second = {"depth": ("14",)}
    scale = Scale("resnet_digits", axes=first, also=(second,))
    ablation = dataclasses.replace(get_ablation(), scales={"two": scale}, claims=())
    names = [arm.name for arm in ablation.arms("two")]
    assert names == ["plain-8", "plain-14", "residual-14"]


def test_a_claim_is_posed_where_all_its_arms_are_run():
    ablation = get_ablation()
    assert ablation.posed("smoke") == []
    assert ablation.posed("laptop") == list(ablation.claims)


def test_an_arm_may_take_another_net():
    nets = {
        "residual": {},
        "mlp": {"model": base.model_section("mlp", widths=(64,))},
    }
    ablation = dataclasses.replace(
        get_ablation(),
        axes=(Axis("net", nets), Axis.over("rate", "schedule.learning_rate", (0.1,))),
        arm_name="{net}",
        x_axis="rate",
        scales={"smoke": Scale("resnet_digits")},
        claims=(),
        published=(),
    )
    written = json.loads(json.dumps(spec_to_dict(ablation, "smoke")))
    assert [a.name for a in spec_from_dict(written)[0].arms("smoke")] == list(nets)
    arms = ablation.arms("smoke")
    config = load_recipe("resnet_digits")
    override(config, arms[1].overrides)
    assert config.model.name == "mlp"
    assert set(config.model) == set(base.model_section("mlp"))
    assert config.model.widths == (64,)
