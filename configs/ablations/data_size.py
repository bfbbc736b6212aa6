"""Learning curves: error and gap against the number of training images.

Source: LeCun et al. 1998, "Gradient-based learning", Section I.A, eq. 1, and Fig. 6;
Hestness et al. 2017, arXiv 1712.00409, for the form of the curves.
Command: ./launch.sh ablate --ablation=data_size --scale=laptop

Every arm has the same number of steps and the same test images, and smaller training
sets are subsets of larger ones. `--folds=5` takes every image as a test image once.
Stated beforehand: 64 to 1,024 digits, each twice the number before, and three nets:
dense layers, four convolutions, and a residual net of 8 layers.
"""

from cnnjax.ablation.define import Ablation, Axis, Paper, Scale, falls_more, lower
from configs.base import model_section

LECUN = Paper("LeCun et al. 1998")
HESTNESS = Paper("Hestness et al. 2017, arXiv 1712.00409")

NET = Axis(
    "net",
    {
        "mlp": {"model": model_section("mlp", widths=(64, 64))},
        "conv": {"model": model_section("convnet_digits", widths=(8, 16))},
        "residual": {
            "model": model_section("resnet20_cifar", depth=8, widths=(8, 16, 32))
        },
        "lenet": {"model": model_section("lenet5")},
    },
)
IMAGES = Axis.over(
    "images",
    "data.num_train",
    [64, 128, 256, 512, 1024, 15000, 30000, 60000],
    title="training images",
)

CLAIMS = [
    lower(
        "test_error",
        "mlp-1024",
        than="mlp-256",
        source=HESTNESS,
        name="more data, mlp",
        published="a power law",
    ),
    lower(
        "test_error",
        "conv-1024",
        than="conv-256",
        source=HESTNESS,
        name="more data, conv",
        published="a power law",
    ),
    lower(
        "test_error",
        "residual-1024",
        than="residual-256",
        source=HESTNESS,
        name="more data, residual",
        published="a power law",
    ),
    falls_more(
        "test_error",
        ("conv-64", "conv-256"),
        than=("conv-256", "conv-1024"),
        source=HESTNESS,
        name="diminishing returns",
        published="a power law",
    ),
    lower(
        "generalization_gap",
        "conv-1024",
        than="conv-64",
        source=LECUN.at("eq. 1"),
        name="gap",
        published="gap = k (h / images)^a",
    ),
    lower(
        "test_error",
        "conv-1024",
        than="mlp-1024",
        source=LECUN.at("Fig. 9"),
        name="prior knowledge",
        published="MNIST: 0.95 % (LeNet-5) against 4.7 % (300 units)",
    ),
    falls_more(
        "test_error",
        ("mlp-64", "conv-64"),
        than=("mlp-1024", "conv-1024"),
        source=LECUN.at("Section I.B"),
        name="prior knowledge x data",
        sentence="The lead of conv over mlp shrinks from 64 to 1,024 images.",
        published="the statement only",
    ),
    lower(
        "test_error",
        "lenet-60000",
        than="lenet-15000",
        source=LECUN.at("Fig. 6"),
        name="MNIST",
        published="the order only (curves)",
    ),
]

SCALES = {
    "smoke": Scale(
        recipe="resnet_digits",
        seeds=2,
        grids=[{"net": ["mlp"], "images": [64, 256]}],
        overrides={"train.steps": 10},
        note="8x8 digits of scikit-learn, ten steps: shows that it runs",
    ),
    "laptop": Scale(
        recipe="resnet_digits",
        seeds=8,
        grids=[
            {"net": ["mlp", "conv", "residual"], "images": [64, 128, 256, 512, 1024]}
        ],
        overrides={"train.steps": 300, "data.num_test": 500, "eval.every_epochs": 10.0},
        note="8x8 digits of scikit-learn (real), 500 to test; on two cores",
    ),
    "paper": Scale(
        recipe="lenet_mnist",
        seeds=5,
        grids=[{"net": ["lenet"], "images": [15000, 30000, 60000]}],
        # 20 passes over 60,000 images.
        overrides={"train.steps": 9375, "data.num_validation": 0},
        note="MNIST, the modern LeNet-5 at equal steps; minutes on one GPU",
    ),
}


def get_ablation() -> Ablation:
    """Nets over nested training sets of growing size."""
    return Ablation(
        name="data_size",
        title="Learning curves: error against training images",
        question="How does error fall with data, and does the net then matter less?",
        source=f"{LECUN.at('Section I.A')}; {HESTNESS}",
        axes=[NET, IMAGES],
        arm_name="{net}-{images}",
        x_axis="images",
        series_axis="net",
        metrics=["test_error", "generalization_gap", "train_error", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="A net need not learn from images what its structure provides.",
        limits="One draw of training images: --folds=5 varies it. Five sizes show an "
        "order, not an exponent. With 64 images an epoch is one step.",
    )
