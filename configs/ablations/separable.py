"""Depthwise separable against full convolutions: at equal widths, and at equal cost.

Source: Howard et al. 2017, arXiv 1704.04861, Table 4 (equal widths); Chollet 2017,
arXiv 1610.02357, Table 1 (equal number of parameters).
Command: ./launch.sh ablate --ablation=separable --scale=laptop

Stated beforehand: 'separable-wide' has 42 and 84 channels in place of 16 and 32, with
which both parameters (16.7k for 17.1k) and multiply-adds (1.59 M for 1.59 M) are those
of the full net.
"""

from cnnjax.ablation.define import (
    Ablation,
    Axis,
    Paper,
    Published,
    Scale,
    higher,
    lower,
    not_higher,
)

HOWARD = Paper("Howard et al. 2017, arXiv 1704.04861")
CHOLLET = Paper("Chollet 2017, arXiv 1610.02357")

NET = Axis(
    "net",
    {
        "full": {"model.separable": False},
        "separable": {"model.separable": True},
        "separable-wide": {"model.separable": True, "model.widths": (42, 84)},
    },
    title="convolutions",
)

MOBILENET = Published(
    source=HOWARD.at("Table 4"),
    metric="test_error",
    data="ImageNet",
    values={"full": 28.3, "separable": 29.4},
)

CLAIMS = [
    not_higher(
        "test_error",
        "separable",
        than="full",
        tolerance=2.0,
        source=HOWARD.at("Table 4"),
        name="small loss",
        sentence="At equal widths separable convolutions cost at most 2 points of test "
        "error.",
        published=MOBILENET.quote("separable", "full")
        + ", with an eighth of the multiply-adds",
    ),
    higher(
        "test_error",
        "separable",
        than="full",
        source=HOWARD.at("Table 4"),
        name="some loss",
        sentence="At equal widths full convolutions have the lower test error.",
    ),
    lower(
        "test_error",
        "separable-wide",
        than="full",
        source=CHOLLET.at("Table 1"),
        name="better at equal cost",
        sentence="With as many parameters and multiply-adds, separable convolutions "
        "have the lower test error.",
        published="ImageNet, equal parameters: 21.0 % (Xception) against 21.8 % "
        "(Inception-v3)",
    ),
    lower(
        "train_error",
        "separable-wide",
        than="full",
        source=CHOLLET.at("Table 1"),
        name="better fit at equal cost",
        sentence="With as many parameters and multiply-adds, separable convolutions "
        "have the lower training error.",
        published="faster convergence, higher final performance (curves)",
    ),
]

SCALES = {
    "smoke": Scale(
        recipe="convnet_digits",
        seeds=2,
        overrides={"train.epochs": 1},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="convnet_few_cifar10",
        seeds=5,
        note="5,000 images of CIFAR-10 at 16x16; minutes on two CPU cores",
    ),
    "paper": Scale(
        recipe="mobilenet_v1_imagenet",
        seeds=3,
        grids=[{"net": ["full", "separable"]}],
        # Not `as_published`: the paper prints neither rates nor epochs.
        note="ImageNet, MobileNet and its twin; for accelerators",
    ),
}


def get_ablation() -> Ablation:
    """Nets with full and with separable convolutions."""
    return Ablation(
        name="separable",
        title="Depthwise separable against full convolutions",
        question="What do separable convolutions cost, and what do they save?",
        source=f"{HOWARD.at('Table 4')}; {CHOLLET.at('Table 1')}",
        axes=[NET],
        arm_name="{net}",
        x_axis="net",
        metrics=["test_error", "train_error", "validation_error", "step_milliseconds"],
        claims=CLAIMS,
        scales=SCALES,
        published=[MOBILENET],
        failed_above=81.0,  # nine tenths of the error of guessing
        background="A k x k convolution from M to N channels has k^2 M N weights; one "
        "within each channel and a 1x1 across them k^2 M + M N. The first convolution "
        "of the net is full in all arms.",
        limits="Nets a hundred times smaller than the published ones, where a channel "
        "is a scarcer good: the loss at equal widths will be larger. Multiply-adds are "
        "not time: see the milliseconds of a step.",
    )
