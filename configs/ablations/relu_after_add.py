"""Is the activation after the addition of a residual block needed?

Source: He et al. 2016, arXiv 1603.05027, Section 4.1 and Table 2, which moves it; Gross
& Wilber 2016, "Training and investigating Residual Nets" (Torch blog), which leaves it
out (its numbers are not verified here).
Command: ./launch.sh ablate --ablation=relu_after_add --scale=laptop

Arms: the block of 2015 (`after`), the same without the activation after the addition
(`without`: the branch ends in its norm, and the shortcut is clean), one on the branch
instead (`before`, as in Table 2), and full pre-activation. Stated beforehand: nets of
20 and 56 layers, one rate, no augmentation where images are few, so that all can fit.
"""

from cnnjax.ablation.define import (
    Ablation,
    Axis,
    Gate,
    Paper,
    Scale,
    higher,
    not_higher,
    rises_more,
)

HE = Paper("He et al. 2016, arXiv 1603.05027")
BLOG = Paper("Gross & Wilber 2016 (Torch blog)")

RELU = Axis.over(
    "relu",
    "model.placement",
    {
        "after": "post",
        "without": "no_act_after_add",
        "before": "act_before_add",
        "full_pre": "pre",
    },
    title="activation at the addition",
)
DEPTH = Axis.over("depth", "model.depth", [8, 20, 56])

NOT_VERIFIED = "about as good, or a little better; not verified here"
CLAIMS = [
    not_higher(
        "test_error",
        "without-20",
        than="after-20",
        tolerance=1.0,
        headline=True,
        source=BLOG,
        published=NOT_VERIFIED,
        name="not needed at 20",
        sentence="At 20 layers the test error without the activation after the "
        "addition is at most 1 point higher than with it.",
    ),
    not_higher(
        "test_error",
        "without-56",
        than="after-56",
        tolerance=1.0,
        source=BLOG,
        published=NOT_VERIFIED,
        name="not needed at 56",
    ),
    higher(
        "test_error",
        "before-20",
        than="without-20",
        source=HE.at("Section 4.1 (in words)"),
        published="110 layers: 7.84 % against 6.61 % of the block of 2015",
        name="worse on the branch",
        sentence="An activation at the end of the branch gives a higher test error "
        "than none: the branch can then only add.",
        matters=1.0,
        because="the paper has 1.2 points at 110 layers",
    ),
    rises_more(
        "train_loss",
        ("after-20", "after-56"),
        than=("without-20", "without-56"),
        source=HE.at("Section 4.1 (in words)"),
        published="a clean shortcut eases optimisation with depth",
        matters=0.05,
        because="0.05 nats are 5% in the probability of the right class",
        name="clean shortcut x depth",
    ),
]

SCALES = {
    "smoke": Scale(
        recipe="resnet_digits",
        seeds=2,
        grids=[{"relu": ["after", "without"], "depth": [8]}],
        overrides={"train.epochs": 1},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="resnet_few_cifar10",
        seeds=5,
        grids=[{"depth": [20]}],
        overrides={
            "model.widths": (8, 16, 32),
            "data.image_size": 16,
            "data.num_test": 4000,
            "train.batch_size": 64,
            "train.epochs": 15.0,
        },
        note="5,000 images of CIFAR-10 at 16x16, half the width; minutes on two cores",
        gate=Gate(
            at_most=1.15,
            control="after-20",
            because="half of the loss of guessing: this scale shows early training",
        ),
    ),
    "workstation": Scale(
        recipe="resnet_few_cifar10",
        seeds=3,
        grids=[{"depth": [20]}, {"relu": ["after", "without"], "depth": [56]}],
        note="5,000 images of CIFAR-10 at 32x32, widths of the paper, 2,344 steps; "
        "hours on two cores",
        gate=Gate(
            at_most=0.1,
            control="after-20",
            because="15 epochs without augmentation are to let the block of 2015 at 20 "
            "layers nearly fit its 5,000 images",
        ),
    ),
    "paper": Scale(
        recipe="resnet_cifar10",
        seeds=5,
        grids=[{"depth": [20, 56]}],
        note="CIFAR-10, the recipe of 2015; for accelerators",
        gate=Gate(
            at_most=0.5,
            control="after-20",
            because="at 0.5 the right class gets 61%, with augmented images too",
        ),
    ),
}


def get_ablation() -> Ablation:
    """Residual nets with the activation after, before or not at the addition."""
    return Ablation(
        name="relu_after_add",
        title="The activation after the addition",
        question="Does the ReLU after the addition of a residual block matter?",
        source=f"{HE.at('Section 4.1')}; {BLOG}",
        axes=[RELU, DEPTH],
        arm_name="{relu}-{depth}",
        x_axis="relu",
        series_axis="depth",
        metrics=["test_error", "train_error", "train_loss", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="The activation after the addition is the only thing on the path of "
        "the shortcut of the block of 2015.",
        limits="Two depths; the paper sees the gain of a clean shortcut from 110 on.",
    )
