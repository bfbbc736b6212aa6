"""A definition with six claims for tests, independent of the real one."""

from cnnjax.ablation.define.spec import Ablation, Axis, Claim, Published, Scale

PAPER = "He et al. 2015, arXiv 1512.03385"
FIG6, TABLE6, SEEN = f"{PAPER}, Fig. 6", f"{PAPER}, Table 6", "the order only (curves)"
P20, P56, R20, R56 = "plain-20", "plain-56", "residual-20", "residual-56"
TRAIN, TEST = "train_error", "test_error"
# fmt: off
# Section 4.2: nets of 110 layers start at a low rate for about 400 steps.
DEPTH_110 = {"model.depth": 110, "schedule.warmup": 400.0,
             "schedule.warmup_kind": "constant", "schedule.warmup_learning_rate": 0.01}
TEST_ERROR = {"plain": {20: 9.0, 32: 10.0, 44: 11.5, 56: 13.0},
              "residual": {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.61}}
ORIGIN = {"plain": (FIG6, "approximate, read off the curves"), "residual": (TABLE6, "")}
CLAIMS = (
    Claim("plain degrades", "Plain-56 has a higher training error than plain-20.",
          FIG6, TRAIN, {P56: 1, P20: -1}, published=SEEN),
    Claim("shortcuts help", "Residual-56 has a lower training error than plain-56.",
          FIG6, TRAIN, {P56: 1, R56: -1}, published=SEEN),
    Claim("residual keeps", "Residual-56 is at most 1 point worse in training error"
          " than residual-20.", FIG6, TRAIN, {R20: 1, R56: -1}, -1.0, SEEN),
    Claim("depth x shortcut", "From 20 to 56 layers, the training error of plain nets"
          " rises by more than that of residual nets.", FIG6, TRAIN,
          {P56: 1, P20: -1, R56: -1, R20: 1}, published=SEEN),
    Claim("plain degrades, test", "Plain-56 has a higher test error than plain-20.",
          FIG6, TEST, {P56: 1, P20: -1}, published="about 13 % against about 9 %"),
    Claim("shortcuts help, test", "Residual-56 has a lower test error than plain-56.",
          f"{FIG6}; Table 6", TEST, {P56: 1, R56: -1},
          published="6.97 % against about 13 %"),
)
SCALES = {
    "smoke": Scale("resnet_digits", {"train.epochs": 1}, {"depth": ("8", "14")}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("resnet_digits", {}, {"depth": ("8", "20", "32", "56")}, 5,
                    "8x8 digits of scikit-learn (real); minutes on two CPU cores"),
    "paper": Scale("resnet_cifar10", {}, {"depth": ("20", "32", "44", "56", "110")}, 5,
                   "CIFAR-10, the recipe of the paper; for accelerators", True),
}


def get_ablation() -> Ablation:
    """Plain and residual nets over depth; twins differ by the addition only."""
    depths = {str(d): {"model.depth": d} for d in (8, 14, 20, 32, 44, 56)}
    return Ablation(
        name="degradation", title="Depth degradation and residual learning",
        question="Do deeper plain nets train worse, and do identity shortcuts cure it?",
        source=f"{PAPER}, Section 4.2", arm_name="{net}-{depth}",
        axes=(Axis("net", {n: {"model.residual": n == "residual"} for n in TEST_ERROR}),
              Axis("depth", depths | {"110": DEPTH_110}, "depth (weight layers)")),
        x_axis="depth", series_axis="net", metrics=(TRAIN, TEST, "validation_error"),
        claims=CLAIMS, scales=SCALES,
        published=[Published(f"{net}-{depth}", TEST, error, *ORIGIN[net])
                   for net, row in TEST_ERROR.items() for depth, error in row.items()],
        background="The claim is about training error: not overfitting, optimisation.",
        limits="Digits are easier than CIFAR-10: compare the order, not the numbers.")
