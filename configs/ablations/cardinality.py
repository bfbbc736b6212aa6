"""Cardinality: more groups of narrower 3x3 convolutions at equal multiply-adds.

Source: Xie et al. 2016, arXiv 1611.05431, Section 5.1, Table 3.
Command: ./launch.sh ablate --ablation=cardinality --scale=laptop

The five templates of Table 3, "groups x channels a group" at a width of 64, cost about
the same. Stated beforehand: at laptop scale the same templates at a quarter of the
width (the channels of 8x14d round down) in the net of 11 layers on few digits.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Published, Scale
from configs.base import model_section

PAPER = "Xie et al. 2016, arXiv 1611.05431"
TABLE3, TRAIN, TEST = f"{PAPER}, Table 3", "train_error", "test_error"
# fmt: off
# groups, channels a group -> top-1 error of 50 layers on ImageNet.
TEMPLATES = {(1, 64): 23.9, (2, 40): 23.0, (4, 24): 22.6, (8, 14): 22.3, (32, 4): 22.2}
CLAIMS = (
    Claim("cardinality", "32 groups have a lower test error than 1, at equal cost.",
          TABLE3, TEST, {"1x64d": 1, "32x4d": -1}, published="22.2 % against 23.9 %"),
    Claim("two groups", "2 groups have a lower test error than 1, at equal cost.",
          TABLE3, TEST, {"1x64d": 1, "2x40d": -1}, published="23.0 % against 23.9 %"),
    Claim("saturates", "From 8 to 32 groups the test error falls by less than from 1 to"
          " 8.", TABLE3, TEST, {"1x64d": 1, "8x14d": -2, "32x4d": 1},
          published="0.1 points against 1.6"),
    Claim("representation", "32 groups are at most 0.5 points worse in training error:"
          " the gain is not regularisation.", f"{PAPER}, Fig. 5", TRAIN,
          {"1x64d": 1, "32x4d": -1}, -0.5, "lower training error (curves)"),
)
SMALL = {"model.depth": 11, "model.widths": (16, 32, 64), "model.block": "bottleneck",
         "model.shortcut": "B", "model.stride_on_3x3": True}
SCALES = {
    "smoke": Scale("resnet_digits", SMALL | {"train.epochs": 1},
                   {"template": ("1x64d", "4x24d")}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("resnet_few_digits", SMALL, {}, 6,
                    "300 of the 8x8 digits (real), 1,297 to test; on two cores"),
    # Section 4: the recipe of Facebook's Torch code, strides in the 3x3.
    "paper": Scale("resnet_imagenet", {"model": model_section("resnet50")}, {}, 3,
                   "ImageNet, 50 layers, the recipe of the paper; accelerators", True),
}


def get_ablation() -> Ablation:
    """One net; the groups of its 3x3 convolutions vary, their cost does not."""
    templates = {f"{groups}x{width}d": {"model.groups": groups,
                                        "model.base_width": width}
                 for groups, width in TEMPLATES}
    return Ablation(
        name="cardinality", title="Cardinality: groups at equal cost",
        question="Are many narrow groups better than one wide convolution?",
        source=f"{PAPER}, Section 5.1", arm_name="{template}",
        axes=(Axis("template", templates, "groups x channels a group (at width 64)"),),
        x_axis="template", series_axis=None,
        metrics=(TEST, TRAIN, "validation_error", "generalization_gap"),
        claims=CLAIMS, scales=SCALES,
        published=[Published(f"{groups}x{width}d", TEST, error, TABLE3)
                   for (groups, width), error in TEMPLATES.items()],
        background="Grouped convolutions mix fewer channels, so the same products buy"
        " more of them.",
        limits="A quarter of the width leaves 1 to 4 channels a group with 32 groups;"
        " on few easy digits seeds differ by about a point. The paper scale decides.")
