"""Width against depth at equal multiply-adds.

Source: Zagoruyko & Komodakis 2016, arXiv 1605.07146, Section 3, Tables 4 and 5, Fig. 4.
Command: ./launch.sh ablate --ablation=width_depth --scale=laptop

The cost grows with the blocks and with the square of the width. Labels are depth x
width of the first stage on digits, and depth-widening factor on CIFAR-10 (16-10 and
22-8 cost the same, so do 28-10 and 40-8). Stated beforehand: pre-activation nets of 1,
2, 3, 5 and 12 blocks a stage, with widths 14, 10, 8, 6 and 4, on few digits; one arm at
a time, since the time of a step is compared.
"""

from cnnjax.ablation.define import Ablation, Axis, Paper, Published, Scale, higher
from configs.base import model_section

WRN = Paper("Zagoruyko & Komodakis 2016, arXiv 1605.07146")


def thin(depth: int, width: int) -> dict:
    """A pre-activation net whose first stage has `width` channels."""
    widths = (width, 2 * width, 4 * width)
    net = model_section("preact_resnet110_cifar", depth=depth, widths=widths)
    return {"model": net}


def wide(depth: int, factor: int) -> dict:
    """A wide residual net as published."""
    net = model_section("wide_resnet28_10", depth=depth, widen_factor=factor)
    return {"model": net}


# Depth x width of the first stage.
DIGITS = {
    "8x14": thin(8, 14),
    "14x10": thin(14, 10),
    "20x8": thin(20, 8),
    "32x6": thin(32, 6),
    "74x4": thin(74, 4),
}
# Depth-widening factor, as in the paper's WRN-28-10.
CIFAR10 = {
    "16-10": wide(16, 10),
    "22-8": wide(22, 8),
    "28-10": wide(28, 10),
    "40-8": wide(40, 8),
}
NET = Axis(
    "net",
    DIGITS | CIFAR10,
    title="net (depth x first width; WRN: depth-widening factor)",
)

PUBLISHED = [
    Published(
        source=WRN.at("Table 4"),
        metric="test_error",
        data="CIFAR-10",
        protocol="flips and shifts",
        values={"16-10": 4.56, "22-8": 4.38, "28-10": 4.17, "40-8": 4.66},
    )
]

THIN_AND_WIDE = (
    "CIFAR-10: 10.2 M parameters, 1001 layers: 4.92 %; 8.9 M, 40 layers: 4.53 %"
)
TABLE_4 = WRN.at("Table 4")
TABLE_5 = WRN.at("Table 5")
CLAIMS = [
    higher(
        "test_error",
        "74x4",
        than="8x14",
        source=TABLE_5,
        name="wide",
        sentence="At equal cost 74 thin layers have a higher test error than 8 wide "
        "ones.",
        published=THIN_AND_WIDE,
    ),
    higher(
        "test_error",
        "74x4",
        than="20x8",
        source=TABLE_5,
        name="moderate",
        sentence="At equal cost 74 thin layers have a higher test error than "
        "20 layers.",
        published=THIN_AND_WIDE,
    ),
    higher(
        "step_milliseconds",
        "74x4",
        than="8x14",
        times=2,
        source=WRN.at("Fig. 4"),
        name="time",
        sentence="A step of 74 thin layers takes more than twice as long as one of 8 "
        "wide layers of equal cost.",
        published="thin-1001 takes 8 times as long as wide-40-4",
    ),
    higher(
        "test_error",
        "40-8",
        than="28-10",
        source=TABLE_4,
        name="40-8",
        sentence="At equal cost WRN-40-8 has a higher test error than WRN-28-10.",
    ),
    higher(
        "test_error",
        "16-10",
        than="22-8",
        source=TABLE_4,
        name="16-10",
        sentence="At equal cost WRN-16-10 has a higher test error than WRN-22-8.",
    ),
]

SCALES = {
    "smoke": Scale(
        recipe="resnet_digits",
        seeds=2,
        grids=[{"net": ["8x14", "14x10"]}],
        overrides={"train.epochs": 1},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="resnet_few_digits",
        seeds=6,
        grids=[{"net": [*DIGITS]}],
        note="300 of the 8x8 digits (real), 1,297 to test; on two cores",
        jobs=1,
    ),
    "paper": Scale(
        recipe="wide_resnet_cifar10",
        seeds=5,
        grids=[{"net": [*CIFAR10]}],
        # Table 4 is about nets that were trained on all images.
        overrides={"data.num_validation": 0},
        note="CIFAR-10, the recipe of the paper; for accelerators",
        jobs=1,
        as_published=True,
    ),
}


def get_ablation() -> Ablation:
    """Nets of equal cost, from wide and shallow to thin and deep."""
    return Ablation(
        name="width_depth",
        title="Width against depth at equal cost",
        question="At equal multiply-adds, is a wide net better than a deep one?",
        source=WRN.at("Section 3"),
        axes=[NET],
        arm_name="{net}",
        x_axis="net",
        metrics=["test_error", "step_milliseconds", "train_error", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        published=PUBLISHED,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="A wide layer computes in parallel; deep layers run in sequence.",
        limits="Digits need few layers. Costs differ by up to 10%, as widths are whole "
        "numbers. The paper's 8 times is for nets 25 times as deep, on a GPU.",
    )
