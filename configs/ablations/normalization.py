"""Batch norm against norms of single images, over the images that share statistics.

Source: Wu & He 2018, arXiv 1803.08494, Tables 1 to 3, Figure 4.
Command: ./launch.sh ablate --ablation=normalization --scale=laptop

Labels are workers x images: 8x32 is a batch of 256 in which 32 share statistics. As
published the rate is 0.1 images / 32, divided by 10 after 30, 60 and 90% of constant
epochs, and the last norm of each block starts at scale 0. Stated beforehand for the
laptop: two workers in place of eight, ten layers of widths 16 and 32 (maps of 8 and 4
pixels), 8 groups (at least 2 channels each, as published), and 64 epochs of few digits,
in which batch norm at 2x32 fits them. One arm at a time, since step times are compared.
"""

from cnnjax.ablation.define.claims import higher
from cnnjax.ablation.define.spec import Ablation, Axis, Claim, Published, Scale

PAPER, TEST, GAP = "Wu & He 2018, arXiv 1803.08494", "test_error", "generalization_gap"
TABLE1, TABLE2, TABLE3, FIG4 = (
    f"{PAPER}, {where}" for where in ("Table 1", "Table 2", "Table 3", "Fig. 4")
)
# fmt: off
NORMS = {kind: {"norm.kind": kind}
         for kind in ("batch", "group", "layer", "instance", "none")}
NORMS |= {f"groups_{n}": {"norm.kind": "group", "norm.num_groups": n}
          for n in (64, 16, 8, 4, 2)}
NORMS |= {f"channels_{n}": NORMS["group"] | {
    "norm.num_groups": None, "norm.channels_per_group": n}
    for n in (64, 32, 16, 8, 4, 2)}
IMAGES = {f"{w}x{n}": {"norm.examples_per_statistic": n, "train.batch_size": w * n,
                       "schedule.learning_rate": 0.1 * n / 32}
          for w in (8, 2) for n in (32, 16, 8, 4, 2)}
AT_32 = {"batch": 23.6, "group": 24.1, "layer": 25.3, "instance": 28.4,
         "groups_64": 24.6, "groups_16": 24.6, "groups_8": 24.4, "groups_4": 24.6,
         "groups_2": 24.7, "channels_64": 24.4, "channels_32": 24.5, "channels_16":
         24.2, "channels_8": 24.3, "channels_4": 24.8, "channels_2": 25.6}
ERRORS = {f"{norm}-8x32": error for norm, error in AT_32.items()} | {
    "batch-8x16": 23.7, "batch-8x8": 24.8, "batch-8x4": 27.3, "batch-8x2": 34.7,
    "group-8x16": 24.2, "group-8x8": 24.0, "group-8x4": 24.2, "group-8x2": 24.1}


def claims(workers: int) -> list[Claim]:
    """The claims at one number of workers."""
    many, few = f"{workers}x32", f"{workers}x2"
    batch, group, layer, instance = (f"{norm}-{many}" for norm in list(NORMS)[:4])
    rows = [(group, batch, TEST, TABLE1, 0), (batch, group, TEST, TABLE1, -1),
            (layer, group, TEST, TABLE1, 0), (instance, layer, TEST, TABLE1, 0),
            (f"batch-{few}", batch, TEST, TABLE2, 0),
            (f"batch-{few}", f"group-{few}", TEST, TABLE2, 2),
            (group, f"group-{few}", TEST, TABLE2, -1),
            (batch, group, "train_error", FIG4, 0), (group, batch, GAP, FIG4, 0),
            (layer, f"groups_2-{many}", TEST, TABLE3, 0),
            (instance, f"channels_2-{many}", TEST, TABLE3, 0)]
    return [higher(*row, ERRORS if row[2] == TEST else "the order only (curves)")
            for row in rows]


SETUP = {"model.zero_last_scale": True, "schedule.kind": "step", "schedule.warmup": 0.0,
         "schedule.unit": "fraction", "schedule.boundaries": (0.3, 0.6, 0.9)}
DIGITS = SETUP | {"model.widths": (16, 32), "model.depth": 10, "norm.num_groups": 8}
PUBLISHED = SETUP | {"train.epochs": 100.0, "norm.num_groups": 32,
                     "model.stride_on_3x3": True, "model.stem_pool": "padded"}
PAIR = ("batch", "group")
ALONE = ("layer", "instance", "none", "groups_2", "channels_2")
SCALES = {
    "smoke": Scale("resnet_few_digits", DIGITS | {"train.epochs": 2.0},
                   {"norm": PAIR, "images": ("2x8",)}, 2, "300 digits, two epochs"),
    "laptop": Scale("resnet_few_digits", DIGITS | {"train.epochs": 64.0},
                    {"norm": PAIR, "images": tuple(IMAGES)[5:]}, 5,
                    "300 of the 8x8 digits (real), 1,297 to test; minutes on two cores",
                    also=({"norm": ALONE, "images": ("2x32",)},), jobs=1),
    "paper": Scale("resnet_imagenet", PUBLISHED,
                   {"norm": PAIR, "images": tuple(IMAGES)[:5]}, 3,
                   "ImageNet, ResNet-50, 100 epochs; for accelerators", True,
                   ({"norm": tuple(NORMS)[2:], "images": ("8x32",)},), 1),
}


def get_ablation() -> Ablation:
    """Kinds of norm, groups, and images that share statistics."""
    return Ablation(
        name="normalization", title="Batch norm and its alternatives at small batches",
        question="Does group norm hold where batch norm has few images to average?",
        source=PAPER, arm_name="{norm}-{images}", x_axis="images", series_axis="norm",
        axes=(Axis("norm", NORMS), Axis("images", IMAGES, "workers x images each")),
        metrics=(TEST, "train_error", GAP, "step_milliseconds", "memory_mib"),
        claims=(*claims(8), *claims(2)), scales=SCALES,
        published=[Published(arm, TEST, error, PAPER) for arm, error in ERRORS.items()],
        limits="Equal epochs of few digits are 300 steps at 2x32 and 4,800 at 2x2:"
        " small batches gain by their steps, and no training error is left to compare:"
        " `paper` (ImageNet) decides both. Times are those of the machine named.")
