"""Where norm and activation sit in a residual unit, and what lies on its shortcut.

Source: He et al. 2016, arXiv 1603.05027, Tables 1 to 4, Figures 1 and 6.
Command: ./launch.sh ablate --ablation=preactivation --scale=laptop

Stated beforehand: the laptop has the depth of Tables 1 and 2, 110 basic layers, and 20
beside it. As in the paper all nets can fit their training images, so these are few: 300
steps of resnet_few_digits bring the original unit at depth 110 to 0% training error.
"""

from cnnjax.ablation.define.claims import higher
from cnnjax.ablation.define.spec import Ablation, Axis, Claim, Published, Scale

PAPER, TEST, TRAIN = "He et al. 2016, arXiv 1603.05027", "test_error", "train_error"
# fmt: off
FIVE = {"original": "post", "bn_after_add": "norm_after_add", "full_pre": "pre",
        "relu_before_add": "act_before_add", "relu_only_pre": "act_only_pre"}
UNITS = {unit: {"model.placement": place} for unit, place in FIVE.items()} | {
    unit: {"model.placement": "post", "model.shortcut": kind} for unit, kind in
    {"scaled": "scaled", "conv1x1": "C", "dropout": "dropout"}.items()}
UNITS |= {f"{kind}_{bias}": UNITS["original"] | {
    "model.shortcut": kind, "model.gate_bias": -float(bias)}
    for kind in ("shortcut_gate", "exclusive_gate") for bias in (0, 6)}
DEEP = {d: {"model.depth": int(d), "model.block": "bottleneck", "model.remat": remat}
        for d, remat in (("164", "none"), ("1001", "block"))}
DEPTHS = {str(d): {"model.depth": d} for d in (8, 20, 110)} | DEEP | {
    f"{d}-cifar100": keys | {"data.name": "cifar100"} for d, keys in DEEP.items()}
ERRORS = {
    "original-110": 6.61, "scaled-110": 12.35, "exclusive_gate_6-110": 8.70,
    "shortcut_gate_0-110": 12.86, "shortcut_gate_6-110": 6.91, "conv1x1-110": 12.22,
    "bn_after_add-110": 8.17, "relu_before_add-110": 7.84, "relu_only_pre-110": 6.71,
    "full_pre-110": 6.37, "original-164": 5.93, "bn_after_add-164": 6.50,
    "full_pre-164": 5.46, "relu_before_add-164": 6.14, "relu_only_pre-164": 5.91,
    "original-1001": 7.61, "full_pre-1001": 4.92, "original-164-cifar100": 25.16,
    "full_pre-164-cifar100": 24.33, "original-1001-cifar100": 27.82,
    "full_pre-1001-cifar100": 22.71}
# (table, metric, two arms, margin): the first has more of it than the second.
ROWS = [row for d in (110, 164) for row in (
    ("Table 2", TEST, f"original-{d}", f"full_pre-{d}", 0),
    ("Table 2", TEST, f"bn_after_add-{d}", f"original-{d}", 0),
    ("Table 2", TEST, f"relu_before_add-{d}", f"original-{d}", 0),
    ("Table 2", TEST, f"original-{d}", f"relu_only_pre-{d}", -1))] + [
    ("Table 1", TEST, f"{unit}-110", "original-110", 0)
    for unit in ("scaled", "conv1x1", "shortcut_gate_0", "exclusive_gate_6")] + [
    ("Table 4", TEST, f"original-{d}", f"full_pre-{d}", 0)
    for d in ("1001", "164-cifar100", "1001-cifar100")] + [
    ("Table 1", TEST, "original-110", "shortcut_gate_6-110", -1),
    ("Table 1: fails, above 20 %", TEST, "dropout-110", "original-110", 5),
    ("Section 3.1", TRAIN, "conv1x1-110", "original-110", 0),
    ("Section 3.1", TRAIN, "shortcut_gate_0-110", "original-110", 0),
    ("Figure 6", "train_loss", "bn_after_add-110", "original-110", 0),
    ("Figure 1", TRAIN, "original-1001", "full_pre-1001", 0),
    ("Table 2, by contrast", TEST, "full_pre-20", "original-20", -1)]
GAINS = [Claim(f"gain at {d}", f"Full pre-activation saves more test error at {d}"
               f" than at {e}.", f"{PAPER}, Tables 2 and 4", TEST, {f"original-{d}": 1,
               f"full_pre-{d}": -1, f"original-{e}": -1, f"full_pre-{e}": 1})
         for d, e in (("110", "20"), ("1001", "164"))]
PAIR, OPEN = ("original", "full_pre"), [u for u in UNITS if "exclusive" not in u]
SCALES = {
    "smoke": Scale("resnet_few_digits", {"train.epochs": 4},
                   {"unit": PAIR, "depth": ("8",)}, 2, "300 digits, four epochs"),
    "laptop": Scale("resnet_few_digits", {}, {"unit": OPEN, "depth": ("110",)}, 5,
                    "300 of the 8x8 digits (real), 1,297 to test; minutes on two cores",
                    also=({"unit": tuple(FIVE), "depth": ("20",)},)),
    "paper": Scale("preact_resnet_cifar10", {}, {"depth": ("20", "110")}, 5,
                   "CIFAR-10, basic units, the recipe of the paper", True),
    "paper_deep": Scale("preact_resnet_cifar10", {"model.shortcut": "B"},
                        {"unit": PAIR, "depth": list(DEPTHS)[3:]}, 5,
                        "CIFAR-10 and -100, bottlenecks, as published", True,
                        ({"unit": FIVE, "depth": ("164",)},)),
}


def get_ablation() -> Ablation:
    """Placements and shortcuts of residual units, over depth."""
    return Ablation(
        name="preactivation", title="Pre-activation and clean shortcuts",
        question="Do the order of norm and activation and a clean shortcut matter?",
        source=f"{PAPER}, Sections 3 and 4", metrics=(TEST, TRAIN, "train_loss"),
        axes=(Axis("unit", UNITS, "residual unit"), Axis("depth", DEPTHS)),
        arm_name="{unit}-{depth}", x_axis="unit", series_axis="depth", scales=SCALES,
        claims=(*(higher(*arms, metric, f"{PAPER}, {where}", margin,
                         ERRORS if metric == TEST else "the order only (curves, text)")
                  for where, metric, *arms, margin in ROWS), *GAINS),
        published=[Published(arm, TEST, error, f"{PAPER}, Tables 1, 2 and 4")
                   for arm, error in ERRORS.items()],
        background="A gate's number is minus its first bias: at 6 nearly the identity.",
        limits="Published placements differ by 0.1 to 1.6 points at 110 layers, five"
        " seeds on few digits see a few points, depth 20 shows none. What stays open is"
        " for `paper` (110 layers) and `paper_deep` (164 and 1001).")
