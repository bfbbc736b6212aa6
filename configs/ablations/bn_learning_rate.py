"""Batch norm, learning rate and the scale of the initial weights.

Source: Ioffe & Szegedy 2015, arXiv 1502.03167, Section 3.3 (scale of weights) and
Section 4.2, Figs. 2 and 3 (rates times 5 and 30); Bjorck et al. 2018, arXiv 1806.02375,
Fig. 1 (equal rates); Santurkar et al. 2018, arXiv 1805.11604, Section 2 (robustness).
Command: ./launch.sh ablate --ablation=bn_learning_rate --scale=laptop

Stated beforehand: eight convolutions; x1 is 0.005, with which the net without norm
trains; kernels from He's rule times 1/2, 1 and 2, which without norm is a signal of
1/500 to 500 times the size at the head. The two axes are crossed, with and without.
A run whose loss becomes infinite, or that ends above 60% training error, has failed;
the former counts with the error of guessing.
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
    rises_more,
)

IOFFE = Paper("Ioffe & Szegedy 2015, arXiv 1502.03167")
BJORCK = Paper("Bjorck et al. 2018, arXiv 1806.02375")

NORM = Axis.over("norm", "norm.kind", ["none", "batch"])
RATE = Axis.over(
    "rate",
    "schedule.learning_rate",
    {"x1": 0.005, "x5": 0.025, "x30": 0.15},
    title="learning rate (times 0.005)",
)
WEIGHTS = Axis.over(
    "weights",
    "init.scale",
    {"0.5": 0.5, "1": 1.0, "2": 2.0},
    title="scale of initial weights",
)

POINT = {
    "matters": 1.0,
    "because": "1 point is 3 of the 300 test digits, or 13 of those trained on: a "
    "smaller one is a matter of a few images",
}
FACTOR = {
    "matters": 5.0,
    "because": "10 points stand for 'does not train', which 5 more or less leave open",
}
CLAIMS = [
    higher(
        "train_error",
        "none-x5-w1",
        than="batch-x5-w1",
        margin=10.0,
        source=IOFFE.at("Section 4.2.2"),
        name="x5 needs norm",
        **FACTOR,
        sentence="At 5 times the rate the net without norm has a training error more "
        "than 10 points above that with batch norm.",
        published="parameters reach machine infinity without",
    ),
    higher(
        "train_error",
        "none-x30-w1",
        than="batch-x30-w1",
        margin=10.0,
        source=IOFFE.at("Section 4.2.2"),
        name="x30 needs norm",
        headline=True,
        **FACTOR,
        sentence="At 30 times the rate the net without norm has a training error more "
        "than 10 points above that with batch norm.",
        published="30 times trains with batch norm alone",
    ),
    lower(
        "test_error",
        "batch-x30-w1",
        than="batch-x1-w1",
        source=IOFFE.at("Fig. 3"),
        name="high rate, test",
        **POINT,
        sentence="With batch norm, 30 times the rate ends at a lower test error than "
        "the base rate.",
        published="ImageNet, one crop: 25.2 % against 27.3 % (not verified here); "
        "BN-x30 has the other changes of Section 4.2.1 as well, so this is not of the "
        "rate alone",
    ),
    not_higher(
        "test_error",
        "none-x1-w1",
        than="batch-x1-w1",
        tolerance=1.0,
        source=BJORCK.at("Fig. 1"),
        name="not the norm alone",
        sentence="At the rate of the net without norm, batch norm is at most 1 point "
        "better in test error.",
        published="about equal (curves; not verified here)",
    ),
    not_higher(
        "train_error",
        "batch-x1-w2",
        than="batch-x1-w1",
        tolerance=1.0,
        source=IOFFE.at("Section 3.3"),
        name="large weights",
        sentence="With batch norm, weights twice as large cost at most 1 point of "
        "training error.",
        published="BN(aW u) = BN(W u), derived",
    ),
    not_higher(
        "train_error",
        "batch-x1-w0.5",
        than="batch-x1-w1",
        tolerance=1.0,
        source=IOFFE.at("Section 3.3"),
        name="small weights",
        sentence="With batch norm, weights half as large cost at most 1 point of "
        "training error.",
        published="BN(aW u) = BN(W u), derived",
    ),
    rises_more(
        "train_error",
        ("none-x1-w1", "none-x1-w0.5"),
        than=("batch-x1-w1", "batch-x1-w0.5"),
        source=IOFFE.at("Section 1"),
        name="scale without",
        **POINT,
        sentence="Without norm, weights half as large raise the training error by more "
        "than with batch norm.",
        published="be less careful about initialization, in words",
    ),
]

SCALES = {
    "smoke": Scale(
        recipe="convnet_digits",
        seeds=2,
        grids=[{"rate": ["x1", "x30"], "weights": [1]}],
        overrides={"model.num_convs": 4, "model.widths": (12, 24), "train.epochs": 1},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="convnet_digits",
        seeds=5,
        overrides={"model.num_convs": 4, "model.widths": (12, 24)},
        note="8x8 digits of scikit-learn (real); minutes on two CPU cores",
        gate=Gate(
            at_most=0.1,
            control="none-x1-w1",
            because="x1 is to be a rate that suits the net without norm, which then "
            "has next to nothing left to learn: at 0.1 the right class gets 90%",
        ),
    ),
    "paper": Scale(
        recipe="convnet_cifar10",
        seeds=5,
        overrides={"model.num_convs": 4},
        note="CIFAR-10, twelve convolutions; the sources use ImageNet and CIFAR-10 "
        "with nets of their own",
        gate=Gate(
            at_most=0.3,
            control="none-x1-w1",
            because="x1 is to be a rate that suits the net without norm; flips and "
            "crops leave it more to learn than digits do",
        ),
    ),
}


def get_ablation() -> Ablation:
    """Rates times scales of the initial weights, with and without batch norm."""
    return Ablation(
        name="bn_learning_rate",
        title="Batch norm, learning rate and initial weights",
        question="Does batch norm allow higher rates and any scale of weights?",
        source=f"{IOFFE.at('Sections 3.3 and 4.2')}; {BJORCK.at('Fig. 1')}",
        axes=[NORM, RATE, WEIGHTS],
        arm_name="{norm}-{rate}-w{weights}",
        x_axis="rate",
        series_axis="norm",
        metrics=["train_error", "test_error", "train_loss", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        diverged_error=90.0,
        # Two thirds of the error of guessing: less than a third has been learnt.
        failed_above=60.0,
        background="Batch norm makes the signal independent of the scale of the "
        "weights, and larger weights have smaller gradients.",
        limits="One rate of the net without norm, not its best: multiples of it are "
        "not multiples of the best one, as in the source. A warm-up, which the "
        "sources did not have, makes high rates easier for both.",
    )
