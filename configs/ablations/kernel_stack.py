"""Stacks of small filters against one large filter of equal receptive field.

Source: Simonyan & Zisserman 2014, arXiv 1409.1556, Section 2.3 (one 7x7 against three
3x3) and Section 4.1 (the shallow net with one 5x5 for each pair of 3x3).
Command: ./launch.sh ablate --ablation=kernel_stack --scale=laptop

Stated beforehand: two stages of 24 channels each, so that a stage has as many channels
in as out, as in the source's arithmetic; the first starts from the 3 of the image.
Batch norm behind every convolution, where the source had none and started its deep nets
from trained shallow ones.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Scale

PAPER = "Simonyan & Zisserman 2014, arXiv 1409.1556"
TEST, TRAIN = "test_error", "train_error"
# fmt: off
STACKS = {"one-7x7": (7, 1), "three-3x3": (3, 3), "one-5x5": (5, 1), "two-3x3": (3, 2)}
CLAIMS = (
    Claim("two for 5x5", "Two 3x3 convolutions have a lower test error than one 5x5.",
          f"{PAPER}, Section 4.1", TEST, {"one-5x5": 1, "two-3x3": -1},
          published="ImageNet: top-1 error 7 % higher with 5x5"),
    Claim("three for 7x7", "Three 3x3 convolutions have a lower test error than one"
          " 7x7.", f"{PAPER}, Section 2.3", TEST, {"one-7x7": 1, "three-3x3": -1},
          published="argued, not measured: more discriminative, 27 C^2 weights for"
          " 49 C^2"),
    Claim("depth, not size", "Three 3x3 have a lower test error than two 3x3: what"
          " counts is not only the receptive field.", f"{PAPER}, Table 3", TEST,
          {"two-3x3": 1, "three-3x3": -1},
          published="28.7 % (13 layers, B) against 27.0 % (16 layers, D)"),
)
SCALES = {
    "smoke": Scale("convnet_digits", {"train.epochs": 1, "model.widths": (8, 8)}, {}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs; too"
                   " small an image for 7x7"),
    "laptop": Scale("convnet_few_cifar10",
                    {"model.widths": (24, 24), "train.epochs": 10}, {}, 5,
                    "5,000 images of CIFAR-10 at 16x16; minutes on two CPU cores"),
    "paper": Scale("convnet_cifar10", {"model.widths": (128, 128, 128)}, {}, 5,
                   "all of CIFAR-10 at 32x32, 100 epochs; the source is on ImageNet"),
}


def get_ablation() -> Ablation:
    """Nets that differ in the filters of each stage."""
    return Ablation(
        name="kernel_stack", title="Stacks of 3x3 filters against one large filter",
        question="Is a stack of small filters better than one that sees as much?",
        source=f"{PAPER}, Sections 2.3 and 4.1", arm_name="{filters}",
        axes=(Axis("filters", {
            name: {"model.kernel_size": size, "model.num_convs": count}
            for name, (size, count) in STACKS.items()}, "filters of each stage"),),
        x_axis="filters", series_axis=None,
        metrics=(TEST, TRAIN, "validation_error", "step_milliseconds"),
        claims=CLAIMS, scales=SCALES,
        background="Three 3x3 see 7x7 pixels and two see 5x5, with more nonlinearities."
        " With C channels in and out they have 27 and 18 C^2 weights for 49 and 25 C^2."
        " The first of these stages starts from 3 channels, where a stack is not the"
        " smaller one: see the columns of parameters and multiply-adds.",
        limits="Images of 16x16 and 10 epochs: a 7x7 filter sees nearly half of the"
        " image. Depth and filters change together, as in the source.")
