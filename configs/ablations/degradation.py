"""Depth degradation: deeper plain nets train worse, their residual twins do not.

Source: He et al. 2015, arXiv 1512.03385, Section 4, Tables 2, 3, 6, Figures 4, 6, 7;
Veit et al. 2016, arXiv 1605.06431, Figure 3 (a block left out of a trained net).
Command: ./launch.sh ablate --ablation=degradation --scale=laptop

Nets `residual` have shortcuts A. Stated beforehand: 15 epochs, in which residual nets
converge; blocks are left out at depth 20, where the plain net trains as well, and 56.
"""

from cnnjax.ablation.define.claims import higher
from cnnjax.ablation.define.spec import Ablation, Axis, Claim, Published, Scale

HE, VEIT = "He et al. 2015, arXiv 1512.03385", "Veit et al. 2016, arXiv 1605.06431"
TABLE3, FIG6, FIG7 = f"{HE}, Table 3", f"{HE}, Fig. 6; Table 6", f"{HE}, Fig. 7"
TRAIN, TEST, SEEN = "train_error", "test_error", "the order only (curves, text)"
RESPONSE, GRADIENT, LESION = "layer_response", "gradient_ratio", "lesion_increase"
P20, P56, R20, R56 = "plain-20", "plain-56", "residual-20", "residual-56"
# fmt: off
NETS = {"plain": {"model.residual": False}} | {
    net: {"model.residual": True, "model.shortcut": option}
    for net, option in (("residual", "A"), ("residual-B", "B"), ("residual-C", "C"))}
# Section 4.2: nets of 110 layers start at a low rate for about 400 steps.
WARMUP = {"schedule.warmup": 400.0, "schedule.warmup_kind": "constant",
          "schedule.warmup_learning_rate": 0.01}
DEPTHS = {d: {"model.depth": d} for d in (8, 14, 20, 32, 44, 56)} | {
    110: {"model.depth": 110} | WARMUP, 1202: {"model.depth": 1202} | WARMUP,
    18: {"model.num_blocks": (2, 2, 2, 2), "model.block": "basic"},
    34: {"model.num_blocks": (3, 4, 6, 3), "model.block": "basic"}}
ROUGH = {"plain-20": 9.0, "plain-32": 10.0, "plain-44": 11.5, "plain-56": 13.0}
EXACT = {"residual-20": 8.75, "residual-32": 7.51, "residual-44": 7.17,
         "residual-56": 6.97, "residual-110": 6.61, "residual-1202": 7.93,
         "plain-18": 27.94, "plain-34": 28.54, "residual-18": 27.88,
         "residual-34": 25.03, "residual-B-34": 24.52, "residual-C-34": 24.19}
ERRORS, CURVES = ROUGH | EXACT, "ResNet-110: hardly; VGG: to about 90 % (curves)"
CLAIMS = (
    *(higher(P56, other, TRAIN, FIG6, published=SEEN) for other in (P20, R56)),
    higher(R20, R56, TRAIN, FIG6, -1.0, SEEN),
    Claim("depth x shortcut", "From 20 to 56 layers, training error rises more in plain"
          " nets.", FIG6, TRAIN, {P56: 1, P20: -1, R56: -1, R20: 1}, published=SEEN),
    *(higher(P56, other, TEST, FIG6, 0.0, ERRORS) for other in (P20, R56)),
    higher("plain-34", "plain-18", TRAIN, f"{HE}, Fig. 4", published=SEEN),
    higher("residual-18", "residual-34", TEST, f"{HE}, Table 2", 0.0, ERRORS),
    *(higher(f"plain-{net[-2:]}", f"residual-{net}", TEST, TABLE3, 0.0, ERRORS)
      for net in ("B-56", "C-56", "34", "B-34", "C-34")),
    *(higher(f"residual-C-{d}", f"residual-{d}", TEST, TABLE3, -1.0, ERRORS)
      for d in (56, 34)),
    *(higher(first, second, RESPONSE, FIG7, published=SEEN)
      for first, second in ((P20, R20), (P56, R56), (R20, R56))),
    *(Claim(f"no {name} gradient", "At the start the gradient at the first convolution"
            f" of plain-56 is {amount} that at the last.", HE + ", Section 4.1",
            GRADIENT, {P56: sign}, -1.0, "healthy norms") for name, amount, sign in (
          ("vanishing", "above a tenth of", 1), ("exploding", "below ten times", -1))),
    higher(P20, R20, LESION, f"{VEIT}, Fig. 3", 20.0, CURVES),
    Claim("lesions at 56", "Leaving out a block costs residual-56 less than 5 points.",
          f"{VEIT}, Fig. 3", LESION, {R56: -1}, -5.0, CURVES))
PROBES = {"eval.probes": ("layer_responses", "gradient_norms", "lesion")}
BOTH, BC = ("plain", "residual"), ("residual-B", "residual-C")
SCALES = {
    "smoke": Scale("resnet_digits", {"train.epochs": 1} | PROBES,
                   {"net": BOTH, "depth": ("8", "14")}, 2, "8x8 digits, one epoch"),
    "laptop": Scale("resnet_digits", PROBES,
                    {"net": BOTH, "depth": ("8", "20", "32", "56")}, 5,
                    "8x8 digits of scikit-learn (real); minutes on two CPU cores",
                    also=({"net": BC, "depth": ("20", "56")},)),
    "paper": Scale("resnet_cifar10", PROBES,
                   {"net": BOTH, "depth": ("20", "32", "44", "56", "110")}, 5,
                   "CIFAR-10, the recipe of the paper; for accelerators", True,
                   ({"net": ("residual",), "depth": ("1202",)},
                    {"net": BC, "depth": ("56",)})),
    "imagenet": Scale("resnet_imagenet", PROBES, {"net": BOTH, "depth": ("18", "34")},
                      3, "ImageNet, 90 epochs, one crop; for accelerators", True,
                      ({"net": BC, "depth": ("34",)},)),
}


def get_ablation() -> Ablation:
    """Plain and residual nets over depth; twins differ by the addition only."""
    return Ablation(
        name="degradation", title="Depth degradation and residual learning",
        question="Do deeper plain nets train worse, and do identity shortcuts cure it?",
        source=f"{HE}, Section 4", arm_name="{net}-{depth}", x_axis="depth",
        axes=(Axis("net", NETS), Axis("depth", {str(d): DEPTHS[d] for d in sorted(
            DEPTHS)}, "depth (weight layers)")),
        series_axis="net", claims=CLAIMS, scales=SCALES,
        metrics=(TRAIN, TEST, "validation_error", RESPONSE, GRADIENT, LESION),
        published=[Published(arm, TEST, error, f"{HE}, Tables 2, 3, 6" if arm in EXACT
                   else f"{HE}, Fig. 6, approximate") for arm, error in ERRORS.items()],
        background="The claim is about training error: not overfitting, optimisation.",
        limits="Digits are easier than CIFAR-10: compare the order, not the numbers.")
