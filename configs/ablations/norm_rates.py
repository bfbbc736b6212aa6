"""Which learning rate each norm gets: one small search on validation for all.

Source: none; a control for `norm_statistic`, which takes its rates from here.
Command: ./launch.sh ablate --ablation=norm_rates --scale=workstation

The same net, data, batch, schedule and steps as in `norm_statistic`, and the same four
rates for every norm, a factor of about 3 apart. Stated beforehand: each norm gets the
rate with the lowest mean validation error; of two within half a point the higher one.
No test image has a say, and the seeds are not those that are compared afterwards.
"""

from cnnjax.ablation.define import Ablation, Axis, Gate, Scale, higher
from configs.ablations.norm_statistic import BUDGETS, KINDS

RATES = ["0.01", "0.03", "0.1", "0.3"]
NORM = Axis("norm", KINDS)
RATE = Axis.over(
    "rate",
    "schedule.learning_rate",
    {label: float(label) for label in RATES},
    title="learning rate",
)
OTHER_SEEDS = {"seeds.first": 100}

CLAIMS = [
    higher(
        "validation_error",
        "group-0.1",
        than="group-0.03",
        matters=2.0,
        because="a point of error is what the norms are compared by afterwards",
        headline=True,
        source="a pilot of 2026, one seed on CIFAR-10, not published",
        name="group norm wants less",
        sentence="At 0.1, which suits batch norm, group norm has a higher validation "
        "error than at 0.03.",
        published="at 0.1 group norm hardly started: 75.0 % test error after 8 epochs",
    ),
    higher(
        "validation_error",
        "batch-0.01",
        than="batch-0.1",
        matters=2.0,
        because="a point of error is what the norms are compared by afterwards",
        source="Ioffe & Szegedy 2015, arXiv 1502.03167, Section 3.3 (in words)",
        name="batch norm wants more",
        sentence="At 0.01 batch norm has a higher validation error than at 0.1.",
        published="batch norm allows much higher rates, in words",
    ),
]

SCALES = {
    "smoke": Scale(
        recipe="resnet_few_digits",
        seeds=2,
        grids=[{"norm": ["batch", "group"], "rate": ["0.03", "0.1"]}],
        overrides=BUDGETS["smoke"] | OTHER_SEEDS,
        note="300 digits, two epochs: shows that it runs",
    ),
    "laptop": Scale(
        recipe="resnet_cifar10",
        seeds=5,
        overrides=BUDGETS["laptop"]
        | OTHER_SEEDS
        | {"train.epochs": 4.0, "data.num_test": 1000},
        note="5,000 images of CIFAR-10 at 16x16, ten layers, 4 epochs; "
        "ten minutes on two cores",
        gate=Gate(
            at_most=1.15,
            control="batch-0.1",
            because="half of the loss of guessing: this scale shows early training",
        ),
    ),
    "workstation": Scale(
        recipe="resnet_cifar10",
        seeds=2,
        overrides=BUDGETS["workstation"] | OTHER_SEEDS | {"train.epochs": 10.0},
        note="5,000 images of CIFAR-10 at 32x32, ResNet-20, half the epochs of "
        "`norm_statistic`; hours on two cores",
        gate=Gate(
            at_most=1.5,
            control="batch-0.1",
            because="half the budget of `norm_statistic`: rates that have not started "
            "are found out, and that is all the search is for",
        ),
    ),
    "paper": Scale(
        recipe="resnet_cifar10",
        seeds=2,
        overrides=BUDGETS["paper"] | OTHER_SEEDS,
        note="all of CIFAR-10, ResNet-20; for accelerators",
        gate=Gate(
            at_most=0.5,
            control="batch-0.1",
            because="at 0.5 the right class gets 61%, with augmented images too",
        ),
    ),
}


def get_ablation() -> Ablation:
    """Norms over learning rates, judged on validation."""
    return Ablation(
        name="norm_rates",
        title="A learning rate for each norm",
        question="Which learning rate suits each norm?",
        source="none: the search that `norm_statistic` rests on",
        axes=[NORM, RATE],
        arm_name="{norm}-{rate}",
        x_axis="rate",
        series_axis="norm",
        metrics=["validation_error", "train_loss", "train_error"],
        claims=CLAIMS,
        scales=SCALES,
        diverged_error=90.0,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="At one rate norms differ by how well it suits them.",
        limits="Four rates, one schedule, at `workstation` half the epochs: the best "
        "of four, not the best rate.",
    )
