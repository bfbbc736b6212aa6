"""Width against depth at equal multiply-adds.

Source: Zagoruyko & Komodakis 2016, arXiv 1605.07146, Section 3, Table 4 and Fig. 4.
Command: ./launch.sh ablate --ablation=width_depth --scale=laptop

The cost grows with the blocks and with the square of the width. Labels are depth x
widening factor on CIFAR-10 (16-10 and 22-8 cost the same, so do 28-10 and 40-8) and
depth x width of the first stage on digits. Stated beforehand: pre-activation nets of 1,
2, 3, 5 and 12 blocks a stage, with widths 14, 10, 8, 6 and 4, on few digits; one arm at
a time, since the time of a step is compared.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Published, Scale
from configs.base import model_section

PAPER = "Zagoruyko & Komodakis 2016, arXiv 1605.07146"
TABLE4, TEST = f"{PAPER}, Table 4", "test_error"
# fmt: off
SMALL = {8: 14, 14: 10, 20: 8, 32: 6, 74: 4}
# Depth, widening factor -> test error on CIFAR-10.
WIDE = {(16, 10): 4.56, (22, 8): 4.38, (28, 10): 4.17, (40, 8): 4.66}
CLAIMS = (
    Claim("wide", "At equal cost 74 thin layers have a higher test error than 8 wide"
          " ones.", f"{PAPER}, Table 5", TEST, {"74x4": 1, "8x14": -1},
          published="10.2 M parameters, 1001 layers: 4.92 %; 8.9 M, 40 layers: 4.53 %"),
    Claim("moderate", "At equal cost 74 thin layers have a higher test error than 20"
          " layers.", f"{PAPER}, Table 5", TEST, {"74x4": 1, "20x8": -1},
          published="as above"),
    Claim("time", "A step of 74 thin layers takes more than twice as long as one of 8"
          " wide layers of equal cost.", f"{PAPER}, Fig. 4", "step_milliseconds",
          {"74x4": 1, "8x14": -2},
          published="thin-1001 takes 8 times as long as wide-40-4"),
    Claim("40-8", "At equal cost WRN-40-8 has a higher test error than WRN-28-10.",
          TABLE4, TEST, {"40-8": 1, "28-10": -1}, published="4.66 % against 4.17 %"),
    Claim("16-10", "At equal cost WRN-16-10 has a higher test error than WRN-22-8.",
          TABLE4, TEST, {"16-10": 1, "22-8": -1}, published="4.56 % against 4.38 %"),
)


def thin(depth: int, width: int) -> dict:
    """A pre-activation net whose first stage has `width` channels."""
    return {"model": model_section("preact_resnet110_cifar", depth=depth,
                                   widths=(width, 2 * width, 4 * width))}


NETS = {f"{depth}x{width}": thin(depth, width) for depth, width in SMALL.items()} | {
    f"{depth}-{factor}": {"model": model_section(
        "wide_resnet28_10", depth=depth, widen_factor=factor)}
    for depth, factor in WIDE}
DIGITS = tuple(f"{depth}x{width}" for depth, width in SMALL.items())
SCALES = {
    "smoke": Scale("resnet_digits", {"train.epochs": 1}, {"net": DIGITS[:2]}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("resnet_few_digits", {}, {"net": DIGITS}, 6,
                    "300 of the 8x8 digits (real), 1,297 to test; on two cores",
                    jobs=1),
    # Table 4 is about nets that were trained on all images.
    "paper": Scale("wide_resnet_cifar10", {"data.num_validation": 0},
                   {"net": tuple(f"{depth}-{factor}" for depth, factor in WIDE)}, 5,
                   "CIFAR-10, the recipe of the paper; for accelerators", True, jobs=1),
}


def get_ablation() -> Ablation:
    """Nets of equal cost, from wide and shallow to thin and deep."""
    return Ablation(
        name="width_depth", title="Width against depth at equal cost",
        question="At equal multiply-adds, is a wide net better than a deep one?",
        source=f"{PAPER}, Section 3", arm_name="{net}",
        axes=(Axis("net", NETS, "net (depth x width, or depth-widening factor)"),),
        x_axis="net", series_axis=None,
        metrics=(TEST, "step_milliseconds", "train_error", "validation_error"),
        claims=CLAIMS, scales=SCALES,
        published=[Published(f"{depth}-{factor}", TEST, error, TABLE4)
                   for (depth, factor), error in WIDE.items()],
        background="Wide layers keep the hardware busy; deep ones come one by one.",
        limits="Digits need few layers. Costs differ by up to 10%, as widths are whole"
        " numbers. The paper's 8 times is for nets 25 times as deep, on a GPU.")
