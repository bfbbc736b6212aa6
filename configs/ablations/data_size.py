"""Learning curves: error and gap against the number of training images.

Source: LeCun et al. 1998, "Gradient-based learning", Section I.A, eq. 1, and Fig. 6;
Hestness et al. 2017, arXiv 1712.00409, for the form of the curves.
Command: ./launch.sh ablate --ablation=data_size --scale=laptop

Every arm has the same number of steps and the same test images, and smaller training
sets are subsets of larger ones. `--folds=5` takes every image as a test image once.
Stated beforehand: 64 to 1,024 digits, each twice the number before, and three nets:
dense layers, four convolutions, and a residual net of 8 layers.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Scale
from configs.base import model_section

LECUN, HESTNESS = "LeCun et al. 1998", "Hestness et al. 2017, arXiv 1712.00409"
TEST, GAP = "test_error", "generalization_gap"
SEEN = "the order only (curves)"
# fmt: off
CLAIMS = (
    *(Claim(f"more data, {net}", f"With 1,024 images the test error of {net} is lower"
            " than with 256.", HESTNESS, TEST, {f"{net}-256": 1, f"{net}-1024": -1},
            published="a power law")
      for net in ("mlp", "conv", "residual")),
    Claim("diminishing returns", "From 64 to 256 images conv gains more points than"
          " from 256 to 1,024.", HESTNESS, TEST,
          {"conv-64": 1, "conv-256": -2, "conv-1024": 1}, published="a power law"),
    Claim("gap", "With 1,024 images the gap of conv between test and training error is"
          " narrower than with 64.", f"{LECUN}, eq. 1", GAP,
          {"conv-64": 1, "conv-1024": -1}, published="gap = k (h / images)^a"),
    Claim("prior knowledge", "With 1,024 images conv has a lower test error than mlp.",
          f"{LECUN}, Fig. 9", TEST, {"mlp-1024": 1, "conv-1024": -1},
          published="MNIST: 0.95 % (LeNet-5) against 4.7 % (300 units)"),
    Claim("prior knowledge x data", "The lead of conv over mlp shrinks from 64 to 1,024"
          " images.", f"{LECUN}, Section I.B", TEST,
          {"mlp-64": 1, "conv-64": -1, "mlp-1024": -1, "conv-1024": 1},
          published="the statement only"),
    Claim("MNIST", "With 60,000 images LeNet-5 has a lower test error than with"
          " 15,000.", f"{LECUN}, Fig. 6", TEST, {"lenet-15000": 1, "lenet-60000": -1},
          published=SEEN),
)
NETS = {
    "mlp": {"model": model_section("mlp", widths=(64, 64))},
    "conv": {"model": model_section("convnet_digits", widths=(8, 16))},
    "residual": {"model": model_section("resnet20_cifar", depth=8,
                                        widths=(8, 16, 32))},
    "lenet": {"model": model_section("lenet5")},
}
SIZES = (64, 128, 256, 512, 1024, 15000, 30000, 60000)
DIGITS = tuple(NETS)[:3]
SCALES = {
    "smoke": Scale("resnet_digits", {"train.steps": 10},
                   {"net": ("mlp",), "images": ("64", "256")}, 2,
                   "8x8 digits of scikit-learn, ten steps: shows that it runs"),
    "laptop": Scale("resnet_digits", {"train.steps": 300, "data.num_test": 500,
                                      "eval.every_epochs": 10.0},
                    {"net": DIGITS, "images": tuple(map(str, SIZES[:5]))}, 8,
                    "8x8 digits of scikit-learn (real), 500 to test; on two cores"),
    # 20 passes over 60,000 images.
    "paper": Scale("lenet_mnist", {"train.steps": 9375, "data.num_validation": 0},
                   {"net": ("lenet",), "images": ("15000", "30000", "60000")}, 5,
                   "MNIST, the modern LeNet-5 at equal steps; minutes on one GPU"),
}


def get_ablation() -> Ablation:
    """Nets over nested training sets of growing size."""
    return Ablation(
        name="data_size", title="Learning curves: error against training images",
        question="How does error fall with data, and does the net then matter less?",
        source=f"{LECUN}, Section I.A; {HESTNESS}", arm_name="{net}-{images}",
        axes=(Axis("net", NETS),
              Axis.over("images", "data.num_train", SIZES, "training images")),
        x_axis="images", series_axis="net",
        metrics=(TEST, GAP, "train_error", "validation_error"),
        claims=CLAIMS, scales=SCALES,
        background="What is built into a net need not be learned from images.",
        limits="One draw of training images: --folds=5 varies it. Five sizes show an"
        " order, not an exponent. With 64 images an epoch is one step.")
