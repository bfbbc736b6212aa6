"""The statistic of batch norm alone: fewer images share it, and nothing else changes.

Source: Wu & He 2018, arXiv 1803.08494, Sections 4.1 and 4.2, asks the question with
batches that shrink; Hoffer et al. 2017, arXiv 1705.08741, Section 4 (ghost batches);
Wu & Johnson 2021, arXiv 2105.07576, Sections 3 and 4, for the statistics at test time.
Command: ./launch.sh ablate --ablation=norm_statistic --scale=laptop

All arms have the same batch of 64, the same steps, schedule, data and order; those of
batch norm differ only in how many images of a batch share statistics. In the ablation
`normalization`, as in the paper, the batch shrinks, and rate and steps change with it.

Test error is given by precise statistics (`test_error`), running ones (`running_error`)
and those of as many test images as shared them in training (`batch_error`): what is bad
by all three was badly trained, what is bad by one has a mismatch of training and test.

Stated beforehand: each norm has the rate of `RATES`, batch norm the same at every
number of images. `norm_rates` is the search for it, the same for all. Until it has run
at scale `workstation`, the rates are those of a pilot: 0.1 for batch norm, at which
group norm hardly starts, and 0.03 for all others. `workstation` has 5,000 images for 20
epochs without augmentation, in which batch norm over all images is to nearly fit them.
"""

from cnnjax.ablation.define import (
    Ablation,
    Axis,
    Gate,
    Paper,
    Scale,
    higher,
    lower,
    not_higher,
)

WU = Paper("Wu & He 2018, arXiv 1803.08494")
JOHNSON = Paper("Wu & Johnson 2021, arXiv 2105.07576")

KINDS = {
    kind: {"norm.kind": kind}
    for kind in ["batch", "group", "layer", "layer_channel", "instance", "none"]
}
RATES = {
    "batch": 0.1,
    "group": 0.03,
    "layer": 0.03,
    "layer_channel": 0.03,
    "instance": 0.03,
    "none": 0.03,
}
NORM = Axis(
    "norm",
    {
        kind: keys | {"schedule.learning_rate": RATES[kind]}
        for kind, keys in KINDS.items()
    },
)
IMAGES = Axis.over(
    "images",
    "norm.examples_per_statistic",
    {"all": None, 32: 32, 16: 16, 8: 8, 4: 4, 2: 2},
    title="images that share statistics",
)

MATTERS = {"matters": 1.0, "because": "half of what the paper has between 8 and 4"}
TABLE_2 = WU.at("Table 2 (ImageNet, batches that shrink)")
CLAIMS = [
    higher(
        "test_error",
        "batch-2",
        than="batch-all",
        headline=True,
        source=TABLE_2,
        published="34.7 % over 2 images against 23.6 % over 32",
        name="noise hurts",
        sentence="Over 2 images batch norm has a higher test error than over all 64, "
        "by precise statistics: training itself suffers.",
        **MATTERS,
    ),
    not_higher(
        "test_error",
        "batch-16",
        than="batch-all",
        tolerance=1.0,
        source=TABLE_2,
        published="23.7 % over 16 images against 23.6 % over 32",
        name="16 are enough",
    ),
    higher(
        "train_loss",
        "batch-2",
        than="batch-all",
        source=WU.at("Fig. 5 (curves)"),
        published="the order only; not verified here",
        matters=0.05,
        because="0.05 nats are 5% in the probability of the right class",
    ),
    lower(
        "test_error",
        "group-all",
        than="batch-2",
        source=TABLE_2,
        published="24.1 % against 34.7 %",
        name="group norm against noise",
        **MATTERS,
    ),
    not_higher(
        "test_error",
        "group-all",
        than="batch-all",
        tolerance=1.0,
        source=WU.at("Table 1"),
        published="24.1 % against 23.6 %",
        name="group norm keeps up",
    ),
    higher(
        "test_error",
        "instance-all",
        than="group-all",
        source=WU.at("Table 1"),
        published="28.4 % against 24.1 %",
        **MATTERS,
    ),
    not_higher(
        "batch_error",
        "batch-2",
        than="batch-all",
        tolerance=1.0,
        source=JOHNSON.at("Section 4"),
        published="the direction only",
        name="mismatch",
        sentence="Tested as it was trained, over 2 images, batch norm is at most 1 "
        "point worse than over all.",
    ),
]

SMALL = {"model.widths": (16, 32), "model.depth": 10, "norm.num_groups": 8}
BUDGET = {
    "train.batch_size": 64,
    "train.steps": 0,
    "schedule.kind": "cosine",
    "schedule.unit": "fraction",
    "schedule.warmup": 0.05,
    "eval.keep_best": False,
    "augment.crop_pad": 0,
    "augment.flip": False,
}
FEW_CIFAR = BUDGET | {
    "data.num_train": 5000,
    "data.num_validation": 1000,
    "norm.num_groups": 8,
    "eval.every_epochs": 5.0,
}
# Scale -> what all arms share, here and in `norm_rates`.
BUDGETS = {
    "smoke": BUDGET | SMALL | {"train.epochs": 2.0},
    "laptop": FEW_CIFAR
    | SMALL
    | {"data.image_size": 16, "data.num_test": 4000, "train.epochs": 8.0},
    "workstation": FEW_CIFAR | {"train.epochs": 20.0},
    "paper": BUDGET
    | {
        "norm.num_groups": 8,
        "augment.crop_pad": 4,
        "augment.flip": True,
        "train.epochs": 100.0,
    },
}
PRECISE = {"eval.statistics": "precise", "eval.probes": ("statistics",)}
ALL = [
    {"norm": ["batch"]},
    {"norm": [kind for kind in KINDS if kind != "batch"], "images": ["all"]},
]
SCALES = {
    "smoke": Scale(
        recipe="resnet_few_digits",
        seeds=2,
        grids=[
            {"norm": ["batch"], "images": ["all", 2]},
            {"norm": ["group"], "images": ["all"]},
        ],
        overrides=BUDGETS["smoke"] | PRECISE,
        note="300 digits, two epochs: shows that it runs",
    ),
    "laptop": Scale(
        recipe="resnet_cifar10",
        seeds=5,
        grids=ALL,
        overrides=BUDGETS["laptop"] | PRECISE,
        note="5,000 images of CIFAR-10 at 16x16, ten layers, 4,000 to test; about ten "
        "minutes on two cores",
        gate=Gate(
            at_most=1.2,
            control="batch-all",
            because="eight epochs of small images only have to bring an arm well below "
            "the 2.3 of guessing: this scale shows early training",
        ),
    ),
    "workstation": Scale(
        recipe="resnet_cifar10",
        seeds=3,
        grids=ALL,
        overrides=BUDGETS["workstation"] | PRECISE,
        note="5,000 images of CIFAR-10 at 32x32, ResNet-20, 1,563 steps, 10,000 to "
        "test; hours on two cores",
        gate=Gate(
            at_most=0.3,
            control="batch-all",
            because="1,563 steps without augmentation are to let batch norm over the "
            "whole batch learn nine of ten training images",
        ),
    ),
    "paper": Scale(
        recipe="resnet_cifar10",
        seeds=5,
        grids=ALL,
        overrides=BUDGETS["paper"] | PRECISE,
        note="all of CIFAR-10, ResNet-20, 100 epochs; for accelerators",
        gate=Gate(
            at_most=0.5,
            control="batch-all",
            because="at 0.5 the right class gets 61%, with augmented images too",
        ),
    ),
}


def get_ablation() -> Ablation:
    """Batch norm over fewer images, beside norms of single images."""
    return Ablation(
        name="norm_statistic",
        title="The statistic of batch norm alone",
        question="What does it cost batch norm that few images share a statistic?",
        source=f"{WU}; {JOHNSON}",
        axes=[NORM, IMAGES],
        arm_name="{norm}-{images}",
        x_axis="images",
        series_axis="norm",
        metrics=[
            "test_error",
            "train_error",
            "running_error",
            "batch_error",
            "train_loss",
            "optimizer_steps",
        ],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="With small batches three things change at once: noise of the "
        "statistic, rate, and number of steps. Here only the first does.",
        limits="`running_error` and `batch_error` are of 2,000 test images. Gradients "
        "are those of 64 images everywhere.",
    )
