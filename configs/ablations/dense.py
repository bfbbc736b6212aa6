"""Concatenate against add: DenseNet, growth rate, bottlenecks and compression.

Source: Huang et al. 2016, arXiv 1608.06993, Section 4.3, Fig. 4, Table 2 (CIFAR-10).
Command: ./launch.sh ablate --ablation=dense --scale=laptop

"add" is the pre-activation residual net. Stated beforehand: at laptop scale the four
forms of DenseNet (Fig. 4, left) have about as many parameters as add-20 (68k; 62k to
72k), BC-40-k4 has a third, and BC-22 grows by 4 or 12 channels a layer; few digits.
"""

from cnnjax.ablation.define import (
    Ablation,
    Axis,
    Paper,
    Published,
    Scale,
    lower,
    not_higher,
)
from configs.base import model_section

HUANG = Paper("Huang et al. 2016, arXiv 1608.06993")


def plain(depth: int, growth_rate: int) -> dict:
    """A DenseNet without bottlenecks and compression, with a stem of 16 channels."""
    return dense(depth, growth_rate, bottleneck=False, compression=1.0, stem_width=16)


def dense(
    depth: int,
    growth_rate: int,
    bottleneck: bool = True,
    compression: float = 0.5,
    stem_width: int = 0,
) -> dict:
    """A DenseNet, BC if not said otherwise; the stem has two growth rates if 0."""
    return {
        "model": model_section(
            "densenetbc100_12_cifar",
            depth=depth,
            growth_rate=growth_rate,
            bottleneck=bottleneck,
            compression=compression,
            stem_width=stem_width,
        )
    }


DIGITS = {
    "add-20": {
        "model": model_section("preact_resnet110_cifar", depth=20, widths=(8, 16, 32))
    },
    "plain-16-k8": plain(16, 8),
    "B-28-k8": dense(28, 8, compression=1.0),
    "C-22-k8": dense(22, 8, bottleneck=False),
    "BC-34-k8": dense(34, 8),
    "BC-40-k4": dense(40, 4),
    "BC-22-k4": dense(22, 4),
    "BC-22-k12": dense(22, 12),
}
CIFAR10 = {
    "add-164": {"model": model_section("preact_resnet164_cifar")},
    "plain-40-k12": plain(40, 12),
    "plain-100-k12": plain(100, 12),
    "plain-100-k24": plain(100, 24),
    "BC-100-k12": dense(100, 12),
}
NET = Axis("net", DIGITS | CIFAR10, title="net (form-depth-growth rate)")

TABLE_2 = Published(
    source=HUANG.at("Table 2"),
    metric="test_error",
    data="CIFAR-10",
    protocol="flips and shifts",
    values={
        "plain-40-k12": 5.24,
        "plain-100-k12": 4.10,
        "plain-100-k24": 3.74,
        "BC-100-k12": 4.51,
        "add-164": 5.46,
    },
)

CLAIMS = [
    lower(
        "test_error",
        "BC-34-k8",
        than="add-20",
        source=HUANG.at("Fig. 4, right"),
        name="dense",
        sentence="DenseNet-BC with as many parameters has a lower test error than the "
        "residual net.",
        published="the order only (curves)",
    ),
    not_higher(
        "test_error",
        "BC-40-k4",
        than="add-20",
        tolerance=0.5,
        source=HUANG.at("Fig. 4, middle"),
        name="a third",
        sentence="DenseNet-BC with a third of the parameters is at most 0.5 points "
        "worse than the residual net.",
        published="about a third of the parameters at equal error",
    ),
    lower(
        "test_error",
        "BC-34-k8",
        than="plain-16-k8",
        source=HUANG.at("Fig. 4, left"),
        name="BC",
        sentence="At equal parameters DenseNet-BC has a lower test error than DenseNet "
        "without bottlenecks and compression.",
        published="the order only (curves)",
    ),
    lower(
        "test_error",
        "BC-22-k12",
        than="BC-22-k4",
        source=TABLE_2.source,
        name="growth rate",
        sentence="At equal depth a growth rate of 12 gives a lower test error than one "
        "of 4.",
        published=TABLE_2.quote("plain-100-k24", "plain-100-k12"),
    ),
    lower(
        "test_error",
        "BC-100-k12",
        than="add-164",
        source=TABLE_2.source,
        name="dense, published",
        sentence="DenseNet-BC-100 (0.8 M parameters) has a lower test error than the "
        "residual net of 164 layers (1.7 M).",
    ),
    lower(
        "test_error",
        "plain-100-k24",
        than="plain-100-k12",
        source=TABLE_2.source,
        name="growth rate, published",
        sentence="At 100 layers a growth rate of 24 gives a lower test error than one "
        "of 12.",
    ),
]

SCALES = {
    "smoke": Scale(
        recipe="resnet_digits",
        seeds=2,
        grids=[{"net": ["add-20", "BC-22-k4"]}],
        overrides={"train.epochs": 1},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="resnet_few_digits",
        seeds=5,
        grids=[{"net": [*DIGITS]}],
        note="300 of the 8x8 digits (real), 1,297 to test; on two cores",
    ),
    "paper": Scale(
        recipe="densenet_cifar10",
        seeds=3,
        grids=[{"net": [*CIFAR10]}],
        # Table 2 is about nets that were trained on all images.
        overrides={"data.num_validation": 0},
        note="CIFAR-10, the paper's recipe for all nets; accelerators",
        as_published=True,
    ),
}


def get_ablation() -> Ablation:
    """Dense nets of several forms beside residual nets."""
    return Ablation(
        name="dense",
        title="Concatenate or add: dense and residual nets",
        question="Is concatenating feature maps better than adding them?",
        source=HUANG.at("Section 4.3"),
        axes=[NET],
        arm_name="{net}",
        x_axis="net",
        metrics=["test_error", "train_error", "validation_error", "generalization_gap"],
        claims=CLAIMS,
        scales=SCALES,
        published=[TABLE_2],
        failed_above=81.0,  # nine tenths of the error of guessing
        background="Equal parameters are not equal cost: dense nets of a size need two "
        "to three times the multiply-adds of residual ones.",
        limits="Few easy digits, nets of 1/15 of the published size. The two kinds "
        "also shrink maps differently: by average pools, and by strided convolutions.",
    )
