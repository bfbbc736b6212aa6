"""A definition with six claims for tests, independent of the real one."""

from cnnjax.ablation.define import (
    Ablation,
    Axis,
    Paper,
    Published,
    Scale,
    higher,
    lower,
    not_higher,
    rises_more,
)

HE = Paper("He et al. 2015, arXiv 1512.03385")

NET = Axis.over("net", "model.residual", {"plain": False, "residual": True})
DEPTH = Axis(
    "depth",
    {str(depth): {"model.depth": depth} for depth in [8, 14, 20, 32, 44, 56]}
    | {
        "110": {
            "model.depth": 110,
            "schedule.warmup": 400.0,
            "schedule.warmup_kind": "constant",
            "schedule.warmup_learning_rate": 0.01,
        }
    },
    title="depth (weight layers)",
)

PUBLISHED = [
    Published(
        source=HE.at("Fig. 6"),
        metric="test_error",
        data="CIFAR-10",
        protocol="approximate, read off the curves",
        values={"plain-20": 9.0, "plain-32": 10.0, "plain-44": 11.5, "plain-56": 13.0},
    ),
    Published(
        source=HE.at("Table 6"),
        metric="test_error",
        data="CIFAR-10",
        values={"residual-20": 8.75, "residual-56": 6.97, "residual-110": 6.61},
    ),
]

FIG_6 = HE.at("Fig. 6")
CURVES = "the order only (curves)"
CLAIMS = [
    higher(
        "train_error",
        "plain-56",
        than="plain-20",
        source=FIG_6,
        name="plain degrades",
        published=CURVES,
    ),
    lower(
        "train_error",
        "residual-56",
        than="plain-56",
        source=FIG_6,
        name="shortcuts help",
        published=CURVES,
    ),
    not_higher(
        "train_error",
        "residual-56",
        than="residual-20",
        tolerance=1.0,
        source=FIG_6,
        name="residual keeps",
        published=CURVES,
    ),
    rises_more(
        "train_error",
        ("plain-20", "plain-56"),
        than=("residual-20", "residual-56"),
        source=FIG_6,
        name="depth x shortcut",
        published=CURVES,
    ),
    higher(
        "test_error",
        "plain-56",
        than="plain-20",
        source=FIG_6,
        name="plain degrades, test",
    ),
    lower(
        "test_error",
        "residual-56",
        than="plain-56",
        source=HE.at("Fig. 6; Table 6"),
        name="shortcuts help, test",
    ),
]

SCALES = {
    "smoke": Scale(
        recipe="resnet_digits",
        seeds=2,
        grids=[{"depth": [8, 14]}],
        overrides={"train.epochs": 1},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="resnet_digits",
        seeds=5,
        grids=[{"depth": [8, 20, 32, 56]}],
        note="8x8 digits of scikit-learn (real); minutes on two CPU cores",
    ),
    "paper": Scale(
        recipe="resnet_cifar10",
        seeds=5,
        grids=[{"depth": [20, 32, 44, 56, 110]}],
        note="CIFAR-10, the recipe of the paper; for accelerators",
        as_published=True,
    ),
}


def get_ablation() -> Ablation:
    """Plain and residual nets over depth; twins differ by the addition only."""
    return Ablation(
        name="degradation",
        title="Depth degradation and residual learning",
        question="Do deeper plain nets train worse, and do identity shortcuts cure it?",
        source=HE.at("Section 4.2"),
        axes=[NET, DEPTH],
        arm_name="{net}-{depth}",
        x_axis="depth",
        series_axis="net",
        metrics=["train_error", "test_error", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        published=PUBLISHED,
        background="The claim is about training error: not overfitting, optimisation.",
        limits="Digits are easier than CIFAR-10: compare the order, not the numbers.",
    )
