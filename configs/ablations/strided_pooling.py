"""Strided convolutions against pooling, with and without more weights.

Source: Springenberg et al. 2014, arXiv 1412.6806, Tables 2 and 3 (CIFAR-10, without
augmentation); the numbers of Table 3 are from memory and not verified here.
Command: ./launch.sh ablate --ablation=strided_pooling --scale=laptop

The design of the paper: `strided` drops the pooling and strides in the convolution
before it (Strided-CNN: as many weights, fewer multiply-adds); `all_conv` puts a strided
convolution in place of the pooling (All-CNN); `conv_pool` has as many convolutions as
that and pools (ConvPool-CNN), so that what more layers bring is not credited to the
stride. `avg` pools by the mean. Stated beforehand: two convolutions a stage, three in
the two nets with more; batch norm, which the source did not have.
"""

from cnnjax.ablation.define import (
    Ablation,
    Axis,
    Gate,
    Paper,
    Published,
    Scale,
    higher,
    lower,
    not_higher,
)

PAPER = Paper("Springenberg et al. 2014, arXiv 1412.6806")
TABLE_3 = PAPER.at("Table 3 (not verified here)")

HALVING = Axis(
    "halving",
    {
        "max": {"model.pool": "max", "model.num_convs": 2},
        "avg": {"model.pool": "avg", "model.num_convs": 2},
        "strided": {"model.pool": "stride", "model.num_convs": 2},
        "all_conv": {"model.pool": "stride", "model.num_convs": 3},
        "conv_pool": {"model.pool": "max", "model.num_convs": 3},
    },
    title="how the map is halved",
)
PUBLISHED = [
    Published(
        source=TABLE_3,
        metric="test_error",
        data="CIFAR-10",
        protocol="base model C, no augmentation, no norm",
        values={"max": 9.74, "strided": 10.19, "conv_pool": 9.31, "all_conv": 9.08},
    )
]
MATTERS = {"matters": 1.0, "because": "the paper's nets differ by 0.2 to 1.1 points"}
CLAIMS = [
    not_higher(
        "test_error",
        "all_conv",
        than="conv_pool",
        tolerance=1.0,
        headline=True,
        source=TABLE_3,
        name="stride for pooling",
        sentence="With as many convolutions, strides in place of max-pooling cost at "
        "most 1 point of test error.",
    ),
    higher(
        "test_error",
        "strided",
        than="max",
        source=TABLE_3,
        name="fewer sums",
        **MATTERS,
    ),
    lower(
        "test_error",
        "conv_pool",
        than="max",
        source=TABLE_3,
        name="more layers",
        **MATTERS,
    ),
    not_higher(
        "test_error",
        "avg",
        than="max",
        tolerance=1.0,
        source=PAPER.at("Section 2 (pooling as a p-norm)"),
        published="no number",
        name="mean for maximum",
    ),
]

NO_AUGMENTATION = {"augment.crop_pad": 0, "augment.flip": False}
SCALES = {
    "smoke": Scale(
        recipe="convnet_digits",
        seeds=2,
        grids=[{"halving": ["max", "strided"]}],
        overrides={"train.epochs": 1},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="convnet_few_cifar10",
        seeds=6,
        overrides=NO_AUGMENTATION | {"data.num_test": 5000},
        note="5,000 images of CIFAR-10 at 16x16, two stages; minutes on two CPU cores",
        gate=Gate(
            at_most=1.15,
            control="conv_pool",
            because="half of the loss of guessing: this scale shows early training",
        ),
    ),
    "workstation": Scale(
        recipe="convnet_cifar10",
        seeds=3,
        overrides=NO_AUGMENTATION
        | {
            "data.num_train": 10000,
            "data.num_validation": 1000,
            "train.epochs": 30.0,
            "eval.every_epochs": 5.0,
        },
        note="10,000 images of CIFAR-10 at 32x32, three stages, 2,370 steps; "
        "hours on two cores",
        gate=Gate(
            at_most=0.1,
            control="conv_pool",
            because="30 epochs without augmentation are to let the net with the most "
            "sums nearly fit its 10,000 images",
        ),
    ),
    "paper": Scale(
        recipe="convnet_cifar10",
        seeds=5,
        overrides=NO_AUGMENTATION | {"model.widths": (96, 192, 192)},
        note="CIFAR-10 without augmentation; widths of the source, not its net",
        gate=Gate(
            at_most=0.5,
            control="conv_pool",
            because="at 0.5 the right class gets 61%, with augmented images too",
        ),
    ),
}


def get_ablation() -> Ablation:
    """Stacks of convolutions that differ in how they halve the map."""
    return Ablation(
        name="strided_pooling",
        title="Strided convolution against pooling",
        question="Can a strided convolution take the place of pooling?",
        source=PAPER.at("Tables 2 and 3"),
        axes=[HALVING],
        arm_name="{halving}",
        x_axis="halving",
        metrics=["test_error", "train_error", "train_loss", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        published=PUBLISHED,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="A stride that replaces pooling saves sums, one that is added "
        "brings weights: only nets of equal depth tell stride from size.",
        limits="All three stages halve the map, the last one before the average. The "
        "nets of the source had dropout and no norm.",
    )
