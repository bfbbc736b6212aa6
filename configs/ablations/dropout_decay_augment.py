"""Dropout, weight decay and augmentation: one by one, in pairs and together.

Source: Krizhevsky et al. 2012, Sections 4 and 5; Srivastava et al. 2014 (JMLR 15),
Table 4; Lin et al. 2013, arXiv 1312.4400, Table 1.
Command: ./launch.sh ablate --ablation=dropout_decay_augment --scale=laptop

A net with a hidden dense layer and no norm, as the sources had: under batch norm weight
decay acts on the rate. Values of Krizhevsky et al.: dropout 0.5 in front of the last
layer, decay 5e-4, flips and shifts. Stated beforehand: 2,000 images of CIFAR-10 at half
their size, shifts by 2 pixels, and the first rate (0.05) and number of epochs (40) with
which the net without any of the three fits its training images.
"""

from cnnjax.ablation.define import Ablation, Axis, Paper, Scale, lower
from configs.base import model_section

KRIZHEVSKY = Paper("Krizhevsky et al. 2012")
SRIVASTAVA = Paper("Srivastava et al. 2014")
LIN = Paper("Lin et al. 2013, arXiv 1312.4400")

NONE = {
    "optimizer.weight_decay": 0.0,
    "model.dropout_rate": 0.0,
    "augment.crop_pad": 0,
    "augment.flip": False,
}
DECAY = {"optimizer.weight_decay": 5e-4}
DROPOUT = {"model.dropout_rate": 0.5}
AUGMENT = {"augment.crop_pad": 2, "augment.flip": True}
REGULARISERS = Axis(
    "regularisers",
    {
        "none": NONE,
        "decay": NONE | DECAY,
        "dropout": NONE | DROPOUT,
        "augment": NONE | AUGMENT,
        "decay-dropout": NONE | DECAY | DROPOUT,
        "decay-augment": NONE | DECAY | AUGMENT,
        "dropout-augment": NONE | DROPOUT | AUGMENT,
        "decay-dropout-augment": NONE | DECAY | DROPOUT | AUGMENT,
    },
)

CLAIMS = [
    lower(
        "generalization_gap",
        "dropout",
        than="none",
        source=KRIZHEVSKY.at("Section 4.2"),
        name="dropout, gap",
        published="the statement only",
    ),
    lower(
        "generalization_gap",
        "augment",
        than="none",
        source=KRIZHEVSKY.at("Section 4.1"),
        name="augment, gap",
        published="the statement only",
    ),
    lower(
        "test_error",
        "dropout",
        than="none",
        source=SRIVASTAVA.at("Table 4"),
        name="dropout, test",
        published="CIFAR-10: 14.32 % against 15.60 %",
    ),
    lower(
        "test_error",
        "augment",
        than="none",
        source=LIN.at("Table 1"),
        name="augment, test",
        published="CIFAR-10, both with dropout: 8.81 % against 10.41 %",
    ),
    lower(
        "train_error",
        "decay",
        than="none",
        source=KRIZHEVSKY.at("Section 5"),
        name="decay, training",
        sentence="Weight decay lowers the training error too: it is not merely a "
        "regulariser.",
        published="the statement only",
    ),
    lower(
        "test_error",
        "decay-dropout-augment",
        than="augment",
        source=KRIZHEVSKY,
        name="together",
        sentence="All three together give a lower test error than augmentation alone.",
        published="the recipe only",
    ),
    lower(
        "test_error",
        "decay-dropout-augment",
        than="decay-augment",
        source=KRIZHEVSKY,
        name="dropout beside the others",
        sentence="With decay and augmentation, dropout still lowers the test error.",
        published="the recipe only",
    ),
]

SCALES = {
    "smoke": Scale(
        recipe="convnet_digits",
        seeds=2,
        grids=[{"regularisers": ["none", "dropout"]}],
        overrides={
            "model": model_section(
                "convnet_digits", head="dense", num_convs=1, dense_width=32
            ),
            "norm.kind": "none",
            "schedule.learning_rate": 0.05,
            "train.epochs": 1,
        },
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="convnet_cifar10",
        seeds=8,
        overrides={
            "model": model_section(
                "convnet_cifar",
                head="dense",
                num_convs=1,
                widths=(16, 32),
                dense_width=128,
            ),
            "norm.kind": "none",
            "schedule.learning_rate": 0.05,
            "data.image_size": 16,
            "data.num_train": 2000,
            "data.num_validation": 500,
            "data.num_test": 4000,
            "train.batch_size": 64,
            "train.epochs": 40.0,
            "eval.every_epochs": 5.0,
        },
        note="2,000 images of CIFAR-10 at 16x16, 4,000 to test; on two cores",
    ),
    "paper": Scale(
        recipe="convnet_cifar10",
        seeds=5,
        overrides={
            "model": model_section("convnet_cifar", head="dense", dense_width=512),
            "norm.kind": "none",
            "schedule.learning_rate": 0.02,
        },
        note="CIFAR-10, 45,000 images; the sources have nets of their own",
    ),
}


def get_ablation() -> Ablation:
    """All subsets of three regularisers on one net."""
    return Ablation(
        name="dropout_decay_augment",
        title="Dropout, weight decay and augmentation",
        question="What does each regulariser do to training and test error?",
        source=f"{KRIZHEVSKY}; {SRIVASTAVA.at('Table 4')}",
        axes=[REGULARISERS],
        arm_name="{regularisers}",
        x_axis="regularisers",
        metrics=["test_error", "generalization_gap", "train_error", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="Regularisers trade training error for test error; how they add up "
        "is seen only when all combinations are run.",
        limits="Few small images and few steps: regularised nets would gain most from "
        "longer training. The training error is that of the net without dropout on "
        "images without augmentation.",
    )
