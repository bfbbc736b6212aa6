"""Depthwise separable against full convolutions: at equal widths, and at equal cost.

Source: Howard et al. 2017, arXiv 1704.04861, Table 4 (equal widths); Chollet 2017,
arXiv 1610.02357, Table 1 (equal number of parameters).
Command: ./launch.sh ablate --ablation=separable --scale=laptop

Stated beforehand: 'separable-wide' has 42 and 84 channels in place of 16 and 32, with
which both parameters (16.7k for 17.1k) and multiply-adds (1.59 M for 1.59 M) are those
of the full net.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Published, Scale

HOWARD = "Howard et al. 2017, arXiv 1704.04861, Table 4"
CHOLLET = "Chollet 2017, arXiv 1610.02357, Table 1"
TEST, TRAIN = "test_error", "train_error"
# fmt: off
NETS = {"full": {"model.separable": False}, "separable": {"model.separable": True},
        "separable-wide": {"model.separable": True, "model.widths": (42, 84)}}
CLAIMS = (
    Claim("small loss", "At equal widths separable convolutions cost at most 2 points"
          " of test error.", HOWARD, TEST, {"full": 1, "separable": -1}, -2.0,
          "29.4 % against 28.3 %, with an eighth of the multiply-adds"),
    Claim("some loss", "At equal widths full convolutions have the lower test error.",
          HOWARD, TEST, {"separable": 1, "full": -1},
          published="28.3 % against 29.4 %"),
    Claim("better at equal cost", "With as many parameters and multiply-adds, separable"
          " convolutions have the lower test error.", CHOLLET, TEST,
          {"full": 1, "separable-wide": -1},
          published="ImageNet, equal parameters: 21.0 % (Xception) against 21.8 %"
          " (Inception-v3)"),
    Claim("better fit at equal cost", "With as many parameters and multiply-adds,"
          " separable convolutions have the lower training error.", CHOLLET, TRAIN,
          {"full": 1, "separable-wide": -1},
          published="faster convergence, higher final performance (curves)"),
)
SCALES = {
    "smoke": Scale("convnet_digits", {"train.epochs": 1}, {}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("convnet_few_cifar10", {}, {}, 5,
                    "5,000 images of CIFAR-10 at 16x16; minutes on two CPU cores"),
    "paper": Scale("mobilenet_v1_imagenet", {}, {"net": ("full", "separable")}, 3,
                   "ImageNet, MobileNet and its twin; for accelerators", True),
}


def get_ablation() -> Ablation:
    """Nets with full and with separable convolutions."""
    return Ablation(
        name="separable", title="Depthwise separable against full convolutions",
        question="What do separable convolutions cost, and what do they buy?",
        source=f"{HOWARD}; {CHOLLET}", arm_name="{net}",
        axes=(Axis("net", NETS, "convolutions"),), x_axis="net", series_axis=None,
        metrics=(TEST, TRAIN, "validation_error", "step_milliseconds"),
        claims=CLAIMS, scales=SCALES,
        published=[Published("full", TEST, 28.3, HOWARD),
                   Published("separable", TEST, 29.4, HOWARD)],
        background="A k x k convolution from M to N channels has k^2 M N weights; one"
        " within each channel and a 1x1 across them k^2 M + M N. The first convolution"
        " of the net is full in all arms.",
        limits="Nets a hundred times smaller than the published ones, where a channel"
        " is a scarcer good: the loss at equal widths will be larger. Multiply-adds are"
        " not time: see the milliseconds of a step.")
