"""Concatenate against add: DenseNet, growth rate, bottlenecks and compression.

Source: Huang et al. 2016, arXiv 1608.06993, Section 4.3, Fig. 4, Table 2 (CIFAR-10).
Command: ./launch.sh ablate --ablation=dense --scale=laptop

"add" is the pre-activation residual net. Stated beforehand: at laptop scale the four
forms of DenseNet (Fig. 4, left) have about as many parameters as add-20 (68k; 62k to
72k), BC-40-k4 has a third, and BC-22 grows by 4 or 12 channels a layer; few digits.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Published, Scale
from configs.base import model_section

PAPER = "Huang et al. 2016, arXiv 1608.06993"
TABLE2, FIG4, TEST = f"{PAPER}, Table 2", f"{PAPER}, Fig. 4", "test_error"
# fmt: off
CLAIMS = (
    Claim("dense", "DenseNet-BC with as many parameters has a lower test error than"
          " the residual net.", f"{FIG4}, right", TEST, {"add-20": 1, "BC-34-k8": -1},
          published="the order only (curves)"),
    Claim("a third", "DenseNet-BC with a third of the parameters is at most 0.5 points"
          " worse than the residual net.", f"{FIG4}, middle", TEST,
          {"add-20": 1, "BC-40-k4": -1}, -0.5,
          "about a third of the parameters at equal error"),
    Claim("BC", "At equal parameters DenseNet-BC has a lower test error than DenseNet"
          " without bottlenecks and compression.", f"{FIG4}, left", TEST,
          {"plain-16-k8": 1, "BC-34-k8": -1}, published="the order only (curves)"),
    Claim("growth rate", "At equal depth a growth rate of 12 gives a lower test error"
          " than one of 4.", TABLE2, TEST, {"BC-22-k4": 1, "BC-22-k12": -1},
          published="plain, 100 layers: 3.74 % (24) against 4.10 % (12)"),
    Claim("dense, published", "DenseNet-BC-100 (0.8 M parameters) has a lower test"
          " error than the residual net of 164 layers (1.7 M).", TABLE2, TEST,
          {"add-164": 1, "BC-100-k12": -1}, published="4.51 % against 5.46 %"),
    Claim("growth rate, published", "At 100 layers a growth rate of 24 gives a lower"
          " test error than one of 12.", TABLE2, TEST,
          {"plain-100-k12": 1, "plain-100-k24": -1},
          published="3.74 % against 4.10 %"),
)
# name, depth, growth rate -> test error on CIFAR-10 with augmentation.
LARGE = {("plain", 40, 12): 5.24, ("plain", 100, 12): 4.10, ("plain", 100, 24): 3.74,
         ("BC", 100, 12): 4.51}
SMALL = (("plain", 16, 8), ("B", 28, 8), ("C", 22, 8), ("BC", 34, 8), ("BC", 40, 4),
         ("BC", 22, 4), ("BC", 22, 12))


def dense(form: str, depth: int, growth_rate: int) -> dict:
    """A DenseNet; 'plain' ones have a stem of 16 channels, as published."""
    return {"model": model_section(
        "densenetbc100_12_cifar", depth=depth, growth_rate=growth_rate,
        bottleneck="B" in form, compression=0.5 if "C" in form else 1.0,
        stem_width=16 if form == "plain" else 0)}


NETS = {"add-20": {"model": model_section("preact_resnet110_cifar", depth=20,
                                          widths=(8, 16, 32))}} | {
    "{}-{}-k{}".format(*net): dense(*net) for net in SMALL} | {
    "add-164": {"model": model_section("preact_resnet164_cifar")}} | {
    "{}-{}-k{}".format(*net): dense(*net) for net in LARGE}
DIGITS = tuple(NETS)[:len(SMALL) + 1]
SCALES = {
    "smoke": Scale("resnet_digits", {"train.epochs": 1},
                   {"net": ("add-20", "BC-22-k4")}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("resnet_few_digits", {}, {"net": DIGITS}, 5,
                    "300 of the 8x8 digits (real), 1,297 to test; on two cores"),
    # Table 2 is about nets that were trained on all images.
    "paper": Scale("densenet_cifar10", {"data.num_validation": 0},
                   {"net": tuple(NETS)[len(DIGITS):]}, 3,
                   "CIFAR-10, the paper's recipe for all nets; accelerators", True),
}


def get_ablation() -> Ablation:
    """Dense nets of several forms beside residual nets."""
    return Ablation(
        name="dense", title="Concatenate or add: dense and residual nets",
        question="Is handing all earlier maps on better than adding to them?",
        source=f"{PAPER}, Section 4.3", arm_name="{net}",
        axes=(Axis("net", NETS, "net (form-depth-growth rate)"),),
        x_axis="net", series_axis=None,
        metrics=(TEST, "train_error", "validation_error", "generalization_gap"),
        claims=CLAIMS, scales=SCALES,
        published=[Published("{}-{}-k{}".format(*net), TEST, error, TABLE2)
                   for net, error in LARGE.items()]
        + [Published("add-164", TEST, 5.46, TABLE2)],
        background="Equal parameters are not equal cost: dense nets of a size need two"
        " to three times the multiply-adds of residual ones.",
        limits="Few easy digits, nets of 1/15 of the published size. The two kinds also"
        " shrink maps differently: by average pools, and by strided convolutions.")
