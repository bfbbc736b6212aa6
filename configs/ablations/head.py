"""Fully connected heads against global average pooling.

Source: Lin et al. 2013, arXiv 1312.4400, Section 4.6, Table 5 (CIFAR-10, without
augmentation): one linear layer on the last maps, with and without dropout in front, and
global average pooling. A hidden layer besides, as in Krizhevsky et al. 2012.
Command: ./launch.sh ablate --ablation=head --scale=laptop

Stated beforehand: no augmentation, dropout 0.5, a hidden layer of 256 units.
Deviation: a linear layer follows the average, which is the same as averaging the maps
of a 1x1 convolution to the classes.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Published, Scale

PAPER = "Lin et al. 2013, arXiv 1312.4400"
TABLE5, GAP, TEST = f"{PAPER}, Table 5", "generalization_gap", "test_error"
# fmt: off
HEADS = {"average": {"model.head": "gap", "model.dense_width": 0},
         "linear": {"model.head": "dense", "model.dense_width": 0},
         "hidden": {"model.head": "dense", "model.dense_width": 256}}
DROPOUT = {"": {"model.dropout_rate": 0.0}, "-dropout": {"model.dropout_rate": 0.5}}
PUBLISHED = {"linear": 11.59, "linear-dropout": 10.88, "average": 10.41}
CLAIMS = (
    Claim("average, error", "Average pooling has a lower test error than a linear layer"
          " on all values.", TABLE5, TEST, {"linear": 1, "average": -1},
          published="10.41 % against 11.59 %"),
    Claim("average, dropout", "Average pooling has a lower test error than a linear"
          " layer with dropout.", TABLE5, TEST, {"linear-dropout": 1, "average": -1},
          published="10.41 % against 10.88 %"),
    Claim("dropout helps", "Dropout lowers the test error of the linear layer.", TABLE5,
          TEST, {"linear": 1, "linear-dropout": -1},
          published="10.88 % against 11.59 %"),
    Claim("average regularises", "Average pooling has a smaller gap between test and"
          " training error than a linear layer.", f"{PAPER}, Section 3.2", GAP,
          {"linear": 1, "average": -1}, published="a structural regulariser, in words"),
    Claim("hidden layers overfit", "A hidden layer has a larger gap between test and"
          " training error than average pooling.", f"{PAPER}, Section 3.2", GAP,
          {"hidden": 1, "average": -1},
          published="fully connected layers are prone to overfitting, in words"),
)
PLAIN = {"augment.crop_pad": 0, "augment.flip": False}
SCALES = {
    "smoke": Scale("convnet_digits", {"train.epochs": 1},
                   {"head": ("average", "linear"), "dropout": ("",)}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("convnet_few_cifar10", PLAIN | {"train.epochs": 10}, {}, 5,
                    "5,000 images of CIFAR-10 at 16x16; minutes on two CPU cores"),
    "paper": Scale("convnet_cifar10", PLAIN | {"model.widths": (96, 192, 192)}, {}, 5,
                   "CIFAR-10 without augmentation; widths of the source, not its net"),
}


def get_ablation() -> Ablation:
    """One stack of convolutions under three heads, with and without dropout."""
    return Ablation(
        name="head", title="Fully connected head against global average pooling",
        question="Does global average pooling generalise better than dense layers?",
        source=TABLE5, arm_name="{head}{dropout}",
        axes=(Axis("head", HEADS), Axis("dropout", DROPOUT)),
        x_axis="head", series_axis="dropout",
        metrics=(TEST, GAP, "train_error", "validation_error"),
        claims=CLAIMS, scales=SCALES,
        published=[Published(arm, TEST, error, TABLE5)
                   for arm, error in PUBLISHED.items()],
        background="The average forgets where in the image a feature was, and has no"
        " weights. In the nets of 2012 to 2014 most weights were in dense heads.",
        limits="Small images, few of them, 10 epochs: nets that have not converged"
        " overfit less, and an average needs longer than a dense head to fit.")
