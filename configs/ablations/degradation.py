"""Depth degradation: deeper plain nets train worse, their residual twins do not.

Source: He et al. 2015, arXiv 1512.03385, Section 4, Tables 2, 3, 6, Figures 6, 7; Veit
et al. 2016, arXiv 1605.06431, Figure 3 (blocks left out).
Command: ./launch.sh ablate --ablation=degradation --scale=laptop

Nets `residual` have shortcuts A. Stated beforehand: 15 epochs, in which residual nets
converge; blocks are left out at depth 20, where the plain net trains as well, and 56.
"""

from cnnjax.ablation.spec import Ablation, Axis, Claim, Published, Scale
from configs import base

HE, VEIT = "He et al. 2015, arXiv 1512.03385", "Veit et al. 2016, arXiv 1605.06431"
FIG6, FIG7, TABLE3 = f"{HE}, Fig. 6", f"{HE}, Fig. 7", f"{HE}, Table 3"
TRAIN, TEST, SEEN = "train_error", "test_error", "the order only (curves)"
RESPONSE, GRADIENT, LESION = "layer_response", "gradient_ratio", "lesion_increase"
P20, P56, R20, R56 = "plain-20", "plain-56", "residual-20", "residual-56"
# fmt: off
NETS = {"plain": {"model.residual": False, "model.shortcut": "A"}} | {
    net: {"model.residual": True, "model.shortcut": option}
    for net, option in (("residual", "A"), ("residual-B", "B"), ("residual-C", "C"))}
# Section 4.2: nets of 110 layers start at a low rate for about 400 steps.
WARMUP = {"schedule.warmup": 400.0, "schedule.warmup_kind": "constant",
          "schedule.warmup_learning_rate": 0.01}
DEPTHS = {d: {"model.depth": d} for d in (8, 14, 20, 32, 44, 56)} | {
    110: {"model.depth": 110} | WARMUP,
    1202: {"model.depth": 1202, "model.remat": "block"} | WARMUP,
    18: {"model.num_blocks": (2, 2, 2, 2)}, 34: {"model.num_blocks": (3, 4, 6, 3)}}
TEST_ERROR = {"plain": {20: 9.0, 32: 10.0, 44: 11.5, 56: 13.0, 18: 27.94, 34: 28.54},
              "residual": {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.61,
                           1202: 7.93, 18: 27.88, 34: 25.03},
              "residual-B": {34: 24.52}, "residual-C": {34: 24.19}}


def origin(net: str, depth: int) -> tuple[str, str]:
    if depth in (18, 34):
        return f"{HE}, Tables 2 and 3", "10 crops"
    if net == "plain":
        return FIG6, "approximate, read off the curves"
    return f"{HE}, Table 6", ""


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
    Claim("plain degrades, 34", "Plain-34 has a higher training error than plain-18.",
          f"{HE}, Fig. 4", TRAIN, {"plain-34": 1, "plain-18": -1}, published=SEEN),
    Claim("residual gains, 34", "Residual-34 has a lower test error than residual-18.",
          f"{HE}, Table 2", TEST, {"residual-18": 1, "residual-34": -1},
          published="25.03 % against 27.88 %"),
    *(Claim(f"option {net[-1]}, {depth}", f"{net}-{depth} has a lower test error than"
            f" plain-{depth}.", TABLE3, TEST,
            {f"plain-{depth}": 1, f"{net}-{depth}": -1}, published="at 34 layers"
            f" {TEST_ERROR[net][34]} % against 28.54 %")
      for depth in (56, 34) for net in ("residual-B", "residual-C")),
    *(Claim(f"projections not essential, {depth}", f"Residual-{depth} (A) is at most 1"
            f" point worse in test error than residual-C-{depth}.", TABLE3, TEST,
            {f"residual-C-{depth}": 1, f"residual-{depth}": -1}, -1.0,
            "at 34 layers 25.03 % against 24.19 %") for depth in (56, 34)),
    *(Claim(f"responses, {a} {b}", f"{a} has larger layer responses than {b}.", FIG7,
            RESPONSE, {a: 1, b: -1}, published=SEEN)
      for a, b in ((P20, R20), (P56, R56), (R20, R56))),
    Claim("no vanishing", "In plain-56 with batch norm the gradient of the first"
          " convolution is at least a tenth of the last one's, at initialisation.",
          f"{HE}, Section 4.1", GRADIENT, {P56: 1}, -1.0, "healthy norms (text)"),
    Claim("no explosion", "There it is at most ten times as large.",
          f"{HE}, Section 4.1", GRADIENT, {P56: -1}, -1.0, "healthy norms (text)"),
    Claim("lesions, 20", "Leaving out a block costs plain-20 at least 20 points of test"
          " error more than residual-20.", f"{VEIT}, Fig. 3", LESION,
          {P20: 1, R20: -1}, 20.0, "VGG: to about 90 %; ResNet-110: hardly (curves)"),
    Claim("lesions, 56", "Leaving out a block costs residual-56 at most 5 points of"
          " test error.", f"{VEIT}, Fig. 3", LESION, {R56: -1}, -5.0,
          "ResNet-110: hardly anything (curves)"),
)
PROBES = {"eval.probes": ("layer_responses", "gradient_norms", "lesion")}
IMAGENET = {"model": base.model_section("resnet34_published")} | PROBES
TWINS, PROJECTED = ("plain", "residual"), ("residual-B", "residual-C")
SCALES = {
    "smoke": Scale("resnet_digits", {"train.epochs": 1} | PROBES,
                   {"net": TWINS, "depth": ("8", "14")}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("resnet_digits", PROBES,
                    {"net": TWINS, "depth": ("8", "20", "32", "56")}, 5,
                    "8x8 digits of scikit-learn (real); minutes on two CPU cores",
                    also=({"net": PROJECTED, "depth": ("20", "56")},)),
    "paper": Scale("resnet_cifar10", PROBES,
                   {"net": TWINS, "depth": ("20", "32", "44", "56", "110")}, 5,
                   "CIFAR-10, the recipe of the paper; for accelerators", True,
                   ({"net": ("residual",), "depth": ("1202",)},
                    {"net": PROJECTED, "depth": ("56",)})),
    "imagenet": Scale("resnet_imagenet", IMAGENET,
                      {"net": TWINS, "depth": ("18", "34")}, 3,
                      "ImageNet, 90 epochs, one crop; for accelerators", True,
                      ({"net": PROJECTED, "depth": ("34",)},)),
}


def get_ablation() -> Ablation:
    """Plain and residual nets over depth; twins differ by the addition only."""
    return Ablation(
        name="degradation", title="Depth degradation and residual learning",
        question="Do deeper plain nets train worse, and do identity shortcuts cure it?",
        source=f"{HE}, Section 4", arm_name="{net}-{depth}",
        axes=(Axis("net", NETS),
              Axis("depth", {str(d): DEPTHS[d] for d in sorted(DEPTHS)},
                   "depth (weight layers)")),
        x_axis="depth", series_axis="net",
        metrics=(TRAIN, TEST, "validation_error", RESPONSE, GRADIENT, LESION),
        claims=CLAIMS, scales=SCALES,
        published=[Published(f"{net}-{depth}", TEST, error, *origin(net, depth))
                   for net, row in TEST_ERROR.items() for depth, error in row.items()],
        background="The claim is about training error: not overfitting, optimisation.",
        limits="Digits are easier than CIFAR-10: compare the order, not the numbers."
        " Options A, B and C differ by half a point at 34 layers: see `imagenet`.")
