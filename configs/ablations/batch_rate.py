"""The learning rate when the batch grows: in proportion, as the square root, or not.

Source: Goyal et al. 2017, arXiv 1706.02677, Section 2.1 (in proportion, with a
warm-up); Krizhevsky 2014, arXiv 1404.5997, Section 5 (the square root in theory,
proportion in practice); Hoffer et al. 2017, arXiv
1705.08741 (the square root, and as many steps). From memory, not verified here.
Command: ./launch.sh ablate --ablation=batch_rate --scale=laptop

Equal epochs, as in the question: a batch of eight times the size takes an eighth of the
steps, which are in the table. Arms start from 32 images at 0.05. Stated beforehand: the
same warm-up over a tenth of the steps for all; batch norm over 32 images everywhere, so
that its statistic stays what it was.
"""

from cnnjax.ablation.define import Ablation, Axis, Gate, Paper, Scale, lower, not_higher

GOYAL = Paper("Goyal et al. 2017, arXiv 1706.02677")
HOFFER = Paper("Hoffer et al. 2017, arXiv 1705.08741")

BASE_BATCH, BASE_RATE = 32, 0.05
POWERS = {"constant": 0.0, "square_root": 0.5, "linear": 1.0}


def setting(batch_size: int, rule: str) -> dict:
    """A batch with the rate that a rule gives it."""
    factor = (batch_size / BASE_BATCH) ** POWERS[rule]
    return {
        "train.batch_size": batch_size,
        "schedule.learning_rate": round(BASE_RATE * factor, 6),
    }


BATCH = Axis(
    "batch",
    {"32": setting(32, "constant")}
    | {f"{size}-{rule}": setting(size, rule) for size in (256, 512) for rule in POWERS},
    title="batch size and rule",
)

MATTERS = {"matters": 1.0, "because": "half of what no rule at all is said to lose"}
CLAIMS = [
    not_higher(
        "test_error",
        "256-linear",
        than="32",
        tolerance=1.0,
        headline=True,
        source=GOYAL.at("Section 2.1"),
        published="ImageNet: no loss up to 8,192 images; not verified here",
        name="linear keeps up",
        sentence="With eight times the images and eight times the rate, the test error "
        "is at most 1 point higher.",
    ),
    lower(
        "test_error",
        "256-linear",
        than="256-constant",
        source=GOYAL.at("Section 2.1"),
        published="the order only; not verified here",
        name="linear against none",
        **MATTERS,
    ),
    lower(
        "test_error",
        "256-linear",
        than="256-square_root",
        source=f"{GOYAL.at('Section 2.1')}, against {HOFFER}",
        published="the two disagree; not verified here",
        name="linear against square root",
        **MATTERS,
    ),
    lower(
        "train_loss",
        "256-linear",
        than="256-constant",
        source=GOYAL.at("Section 2.1"),
        published="training curves match under the rule; not verified here",
        matters=0.05,
        because="0.05 nats are 5% in the probability of the right class",
        name="linear trains faster",
    ),
    not_higher(
        "test_error",
        "512-linear",
        than="32",
        tolerance=1.0,
        source=GOYAL.at("Section 2.1"),
        published="ImageNet: no loss up to 8,192 images; not verified here",
        name="linear at sixteen times",
    ),
]

GHOSTS = {"norm.examples_per_statistic": 32}
SCALES = {
    "smoke": Scale(
        recipe="resnet_digits",
        seeds=2,
        grids=[{"batch": ["32", "256-linear"]}],
        overrides=GHOSTS | {"train.epochs": 1, "model.depth": 8},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="resnet_few_cifar10",
        seeds=5,
        overrides=GHOSTS
        | {
            "model.widths": (8, 16, 32),
            "model.depth": 14,
            "data.image_size": 16,
            "data.num_test": 4000,
            "train.epochs": 15.0,
        },
        note="5,000 images of CIFAR-10 at 16x16, 14 layers; minutes on two cores",
        gate=Gate(
            at_most=1.15,
            control="32",
            because="half of the loss of guessing: this scale shows early training",
        ),
    ),
    "workstation": Scale(
        recipe="resnet_few_cifar10",
        seeds=3,
        overrides=GHOSTS,
        note="5,000 images of CIFAR-10 at 32x32, ResNet-20, 15 epochs: 2,344 steps of "
        "32, 500 of 256, 250 of 512; hours on two cores",
        gate=Gate(
            at_most=0.1,
            control="32",
            because="15 epochs without augmentation are to let the smallest batch "
            "nearly fit its 5,000 images",
        ),
    ),
    "paper": Scale(
        recipe="resnet_cifar10",
        seeds=5,
        overrides=GHOSTS
        | {
            "schedule.kind": "cosine",
            "schedule.unit": "fraction",
            "schedule.warmup": 0.1,
            "train.epochs": 100.0,
        },
        note="all of CIFAR-10, ResNet-20, 100 epochs; the sources have ImageNet too",
        gate=Gate(
            at_most=0.5,
            control="32",
            because="at 0.5 the right class gets 61%, with augmented images too",
        ),
    ),
}


def get_ablation() -> Ablation:
    """Batches of several sizes, each with the rates of three rules."""
    return Ablation(
        name="batch_rate",
        title="Learning rate against batch size",
        question="How should the learning rate follow the batch size?",
        source=f"{GOYAL.at('Section 2.1')}; {HOFFER}",
        axes=[BATCH],
        arm_name="{batch}",
        x_axis="batch",
        metrics=["test_error", "train_loss", "train_error", "optimizer_steps"],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="With equal epochs larger batches take fewer steps: larger steps "
        "have to make up for that.",
        limits="The first rate was not searched for. Few steps at 512 images.",
    )
