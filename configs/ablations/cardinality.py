"""Cardinality: more groups of narrower 3x3 convolutions at equal multiply-adds.

Source: Xie et al. 2016, arXiv 1611.05431, Section 5.1, Table 3.
Command: ./launch.sh ablate --ablation=cardinality --scale=laptop

The five templates of Table 3, "groups x channels a group" at a width of 64, cost about
the same. Stated beforehand: at laptop scale the same templates at a quarter of the
width (the channels of 8x14d round down) in the net of 11 layers on few digits.
"""

from cnnjax.ablation.define import (
    Ablation,
    Axis,
    Paper,
    Published,
    Scale,
    falls_more,
    lower,
    not_higher,
)
from configs.base import model_section

XIE = Paper("Xie et al. 2016, arXiv 1611.05431")

TEMPLATE = Axis(
    "template",
    {
        "1x64d": {"model.groups": 1, "model.base_width": 64},
        "2x40d": {"model.groups": 2, "model.base_width": 40},
        "4x24d": {"model.groups": 4, "model.base_width": 24},
        "8x14d": {"model.groups": 8, "model.base_width": 14},
        "32x4d": {"model.groups": 32, "model.base_width": 4},
    },
    title="groups x channels a group (at width 64)",
)

# Nets of 50 layers.
PUBLISHED = [
    Published(
        source=XIE.at("Table 3"),
        metric="test_error",
        data="ImageNet",
        protocol="one crop",
        values={
            "1x64d": 23.9,
            "2x40d": 23.0,
            "4x24d": 22.6,
            "8x14d": 22.3,
            "32x4d": 22.2,
        },
    )
]

TABLE_3 = XIE.at("Table 3")
CLAIMS = [
    lower("test_error", "32x4d", than="1x64d", source=TABLE_3, name="cardinality"),
    lower("test_error", "2x40d", than="1x64d", source=TABLE_3, name="two groups"),
    falls_more(
        "test_error",
        ("1x64d", "8x14d"),
        than=("8x14d", "32x4d"),
        source=TABLE_3,
        name="saturates",
        sentence="From 8 to 32 groups the test error falls by less than from 1 to 8.",
    ),
    not_higher(
        "train_error",
        "32x4d",
        than="1x64d",
        tolerance=0.5,
        source=XIE.at("Fig. 5"),
        name="representation",
        sentence="32 groups are at most 0.5 points worse in training error than 1: the "
        "gain is not regularisation.",
        published="lower training error (curves)",
    ),
]

SMALL = {
    "model.depth": 11,
    "model.widths": (16, 32, 64),
    "model.block": "bottleneck",
    "model.shortcut": "B",
    "model.stride_on_3x3": True,
}
SCALES = {
    "smoke": Scale(
        recipe="resnet_digits",
        seeds=2,
        grids=[{"template": ["1x64d", "4x24d"]}],
        overrides=SMALL | {"train.epochs": 1},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="resnet_few_digits",
        seeds=6,
        overrides=SMALL,
        note="300 of the 8x8 digits (real), 1,297 to test; on two cores",
    ),
    "paper": Scale(
        recipe="resnet_imagenet",
        seeds=3,
        # Section 4: the recipe of Facebook's Torch code, strides in the 3x3.
        overrides={"model": model_section("resnet50")},
        note="ImageNet, 50 layers, the recipe of the paper; accelerators",
        as_published=True,
    ),
}


def get_ablation() -> Ablation:
    """One net; the groups of its 3x3 convolutions vary, their cost does not."""
    return Ablation(
        name="cardinality",
        title="Cardinality: groups at equal cost",
        question="Are many narrow groups better than one wide convolution?",
        source=XIE.at("Section 5.1"),
        axes=[TEMPLATE],
        arm_name="{template}",
        x_axis="template",
        metrics=["test_error", "train_error", "validation_error", "generalization_gap"],
        claims=CLAIMS,
        scales=SCALES,
        published=PUBLISHED,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="Grouped convolutions mix fewer channels, so the same products buy "
        "more of them.",
        limits="A quarter of the width leaves 1 to 4 channels a group with 32 groups; "
        "on few easy digits seeds differ by about a point. The paper scale decides.",
    )
