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

import itertools

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Scale
from configs.base import model_section

KRIZHEVSKY, SRIVASTAVA, LIN = (
    "Krizhevsky et al. 2012",
    "Srivastava et al. 2014, Table 4",
    "Lin et al. 2013, arXiv 1312.4400, Table 1",
)
TRAIN, TEST, GAP = "train_error", "test_error", "generalization_gap"
# fmt: off
PARTS = {"decay": {"optimizer.weight_decay": 5e-4},
         "dropout": {"model.dropout_rate": 0.5},
         "augment": {"augment.crop_pad": 2, "augment.flip": True}}
NONE = {"optimizer.weight_decay": 0.0, "model.dropout_rate": 0.0,
        "augment.crop_pad": 0, "augment.flip": False}
SUBSETS = [s for n in range(4) for s in itertools.combinations(PARTS, n)]
ARMS = {"-".join(subset) or "none":
        NONE | {k: v for part in subset for k, v in PARTS[part].items()}
        for subset in SUBSETS}
ALL = "decay-dropout-augment"
CLAIMS = (
    *(Claim(f"{name}, gap", f"{name.capitalize()} alone narrows the gap between test"
            " and training error.", source, GAP, {"none": 1, name: -1},
            published="the statement only")
      for name, source in (("dropout", f"{KRIZHEVSKY}, Section 4.2"),
                           ("augment", f"{KRIZHEVSKY}, Section 4.1"))),
    Claim("dropout, test", "Dropout alone lowers the test error.", SRIVASTAVA, TEST,
          {"none": 1, "dropout": -1}, published="14.32 % against 15.60 %"),
    Claim("augment, test", "Augmentation alone lowers the test error.", LIN, TEST,
          {"none": 1, "augment": -1},
          published="with dropout: 8.81 % against 10.41 %"),
    Claim("decay, training", "Weight decay lowers the training error too: it is not"
          " merely a regulariser.", f"{KRIZHEVSKY}, Section 5", TRAIN,
          {"none": 1, "decay": -1}, published="the statement only"),
    Claim("together", "All three together give a lower test error than augmentation"
          " alone.", KRIZHEVSKY, TEST, {"augment": 1, ALL: -1},
          published="the recipe only"),
    Claim("dropout beside the others", "With decay and augmentation, dropout still"
          " lowers the test error.", KRIZHEVSKY, TEST,
          {"decay-augment": 1, ALL: -1}, published="the recipe only"),
)
DENSE = {"head": "dense", "num_convs": 1}
TINY = {"model": model_section("convnet_digits", dense_width=32, **DENSE),
        "norm.kind": "none", "schedule.learning_rate": 0.05, "train.epochs": 1}
SMALL = {"model": model_section("convnet_cifar", widths=(16, 32), dense_width=128,
                                **DENSE),
         "norm.kind": "none", "schedule.learning_rate": 0.05, "data.image_size": 16,
         "data.num_train": 2000, "data.num_validation": 500, "data.num_test": 4000,
         "train.batch_size": 64, "train.epochs": 40.0, "eval.every_epochs": 5.0}
LARGE = {"model": model_section("convnet_cifar", head="dense", dense_width=512),
         "norm.kind": "none", "schedule.learning_rate": 0.02}
SCALES = {
    "smoke": Scale("convnet_digits", TINY, {"regularisers": ("none", "dropout")}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("convnet_cifar10", SMALL, {}, 8,
                    "2,000 images of CIFAR-10 at 16x16, 4,000 to test; on two cores"),
    "paper": Scale("convnet_cifar10", LARGE, {}, 5,
                   "CIFAR-10, 45,000 images; the sources have nets of their own"),
}


def get_ablation() -> Ablation:
    """All subsets of three regularisers on one net."""
    return Ablation(
        name="dropout_decay_augment", title="Dropout, weight decay and augmentation",
        question="What does each regulariser do to training and test error?",
        source=f"{KRIZHEVSKY}; {SRIVASTAVA}", arm_name="{regularisers}",
        axes=(Axis("regularisers", ARMS),), x_axis="regularisers", series_axis=None,
        metrics=(TEST, GAP, TRAIN, "validation_error"), claims=CLAIMS, scales=SCALES,
        background="Regularisers trade training error for test error; how they add up"
        " is seen only when all combinations are run.",
        limits="Few small images and few steps: regularised nets would gain most from"
        " longer training. The training error is that of the net without dropout on"
        " images without augmentation.")
