"""Stacks of small filters against one large filter of equal receptive field.

Source: Simonyan & Zisserman 2014, arXiv 1409.1556, Section 2.3 (one 7x7 against three
3x3) and Section 4.1 (the shallow net with one 5x5 for each pair of 3x3).
Command: ./launch.sh ablate --ablation=kernel_stack --scale=laptop

Stated beforehand: two stages of 24 channels each, so that a stage has as many channels
in as out, as in the source's arithmetic; the first starts from the 3 of the image.
Batch norm behind every convolution, where the source had none and started its deep nets
from trained shallow ones.
"""

from cnnjax.ablation.define import Ablation, Axis, Paper, Scale, lower

VGG = Paper("Simonyan & Zisserman 2014, arXiv 1409.1556")

FILTERS = Axis(
    "filters",
    {
        "one-7x7": {"model.kernel_size": 7, "model.num_convs": 1},
        "three-3x3": {"model.kernel_size": 3, "model.num_convs": 3},
        "one-5x5": {"model.kernel_size": 5, "model.num_convs": 1},
        "two-3x3": {"model.kernel_size": 3, "model.num_convs": 2},
    },
    title="filters of each stage",
)

CLAIMS = [
    lower(
        "test_error",
        "two-3x3",
        than="one-5x5",
        source=VGG.at("Section 4.1"),
        name="two for 5x5",
        published="ImageNet: top-1 error 7 % higher with 5x5",
    ),
    lower(
        "test_error",
        "three-3x3",
        than="one-7x7",
        source=VGG.at("Section 2.3"),
        name="three for 7x7",
        published="argued, not measured: more discriminative, 27 C^2 weights for 49 "
        "C^2",
    ),
    lower(
        "test_error",
        "three-3x3",
        than="two-3x3",
        source=VGG.at("Table 3"),
        name="depth, not size",
        published="ImageNet: 27.0 % (16 layers, D) against 28.7 % (13 layers, B)",
    ),
]

SCALES = {
    "smoke": Scale(
        recipe="convnet_digits",
        seeds=2,
        overrides={"train.epochs": 1, "model.widths": (8, 8)},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs; too small an "
        "image for 7x7",
    ),
    "laptop": Scale(
        recipe="convnet_few_cifar10",
        seeds=5,
        overrides={"model.widths": (24, 24), "train.epochs": 10},
        note="5,000 images of CIFAR-10 at 16x16; minutes on two CPU cores",
    ),
    "paper": Scale(
        recipe="convnet_cifar10",
        seeds=5,
        overrides={"model.widths": (128, 128, 128)},
        note="all of CIFAR-10 at 32x32, 100 epochs; the source is on ImageNet",
    ),
}


def get_ablation() -> Ablation:
    """Nets that differ in the filters of each stage."""
    return Ablation(
        name="kernel_stack",
        title="Stacks of 3x3 filters against one large filter",
        question="Is a stack of small filters better than one large filter?",
        source=VGG.at("Sections 2.3 and 4.1"),
        axes=[FILTERS],
        arm_name="{filters}",
        x_axis="filters",
        metrics=["test_error", "train_error", "validation_error", "step_milliseconds"],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="Three 3x3 see 7x7 pixels and two see 5x5, with more "
        "nonlinearities. With C channels in and out they have 27 and 18 C^2 weights "
        "for 49 and 25 C^2. The first of these stages starts from 3 channels, where a "
        "stack is not the smaller one: see the columns of parameters and "
        "multiply-adds.",
        limits="Images of 16x16 and 10 epochs: a 7x7 filter sees nearly half of the "
        "image. Depth and filters change together, as in the source.",
    )
