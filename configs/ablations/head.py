"""Fully connected heads against global average pooling.

Source: Lin et al. 2013, arXiv 1312.4400, Section 4.6, Table 5 (CIFAR-10, without
augmentation): one linear layer on the last maps, with and without dropout in front, and
global average pooling. A hidden layer besides, as in Krizhevsky et al. 2012.
Command: ./launch.sh ablate --ablation=head --scale=laptop

Stated beforehand: no augmentation, dropout 0.5, a hidden layer of 256 units.
Deviation: a linear layer follows the average, which is the same as averaging the maps
of a 1x1 convolution to the classes.
"""

from cnnjax.ablation.define import (
    Ablation,
    Axis,
    Paper,
    Published,
    Scale,
    higher,
    lower,
)

LIN = Paper("Lin et al. 2013, arXiv 1312.4400")

HEAD = Axis(
    "head",
    {
        "average": {"model.head": "gap", "model.dense_width": 0},
        "linear": {"model.head": "dense", "model.dense_width": 0},
        "hidden": {"model.head": "dense", "model.dense_width": 256},
    },
)
# An empty label adds nothing to the name of an arm: "linear", "linear-dropout".
DROPOUT = Axis.over("dropout", "model.dropout_rate", {"": 0.0, "-dropout": 0.5})

PUBLISHED = [
    Published(
        source=LIN.at("Table 5"),
        metric="test_error",
        data="CIFAR-10",
        protocol="no augmentation",
        values={"linear": 11.59, "linear-dropout": 10.88, "average": 10.41},
    )
]

TABLE_5 = LIN.at("Table 5")
IN_WORDS = LIN.at("Section 3.2")
CLAIMS = [
    lower(
        "test_error", "average", than="linear", source=TABLE_5, name="average, error"
    ),
    lower(
        "test_error",
        "average",
        than="linear-dropout",
        source=TABLE_5,
        name="average, dropout",
    ),
    lower(
        "test_error",
        "linear-dropout",
        than="linear",
        source=TABLE_5,
        name="dropout helps",
    ),
    lower(
        "generalization_gap",
        "average",
        than="linear",
        source=IN_WORDS,
        name="average regularises",
        published="a structural regulariser, in words",
    ),
    higher(
        "generalization_gap",
        "hidden",
        than="average",
        source=IN_WORDS,
        name="hidden layers overfit",
        published="fully connected layers are prone to overfitting, in words",
    ),
]

NO_AUGMENTATION = {"augment.crop_pad": 0, "augment.flip": False}
SCALES = {
    "smoke": Scale(
        recipe="convnet_digits",
        seeds=2,
        grids=[{"head": ["average", "linear"], "dropout": [""]}],
        overrides={"train.epochs": 1},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="convnet_few_cifar10",
        seeds=5,
        overrides=NO_AUGMENTATION | {"train.epochs": 10},
        note="5,000 images of CIFAR-10 at 16x16; minutes on two CPU cores",
    ),
    "paper": Scale(
        recipe="convnet_cifar10",
        seeds=5,
        overrides=NO_AUGMENTATION | {"model.widths": (96, 192, 192)},
        note="CIFAR-10 without augmentation; widths of the source, not its net",
    ),
}


def get_ablation() -> Ablation:
    """One stack of convolutions under three heads, with and without dropout."""
    return Ablation(
        name="head",
        title="Fully connected head against global average pooling",
        question="Does global average pooling generalise better than dense layers?",
        source=LIN.at("Table 5"),
        axes=[HEAD, DROPOUT],
        arm_name="{head}{dropout}",
        x_axis="head",
        series_axis="dropout",
        metrics=["test_error", "generalization_gap", "train_error", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        published=PUBLISHED,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="The average discards where in the image a feature was, and has no "
        "weights. In the nets of 2012 to 2014 most weights were in dense heads.",
        limits="Small images, few of them, 10 epochs: nets that have not converged "
        "overfit less, and an average needs longer than a dense head to fit.",
    )
