"""Batch norm before or after the activation.

Source: Ioffe & Szegedy 2015, arXiv 1502.03167, Section 3.2 (before); Mishkin et al.
2016, arXiv 1606.02228, by its benchmark (github.com/ducha-aiki/caffenet-benchmark,
batchnorm.md): CaffeNet at 128 pixels on ImageNet, accuracy 47.8% before, 49.3% after,
both with scale and shift (read there; not repeated in 5 runs).
Command: ./launch.sh ablate --ablation=norm_order --scale=laptop

Each convolution is followed by norm and activation, or by activation and norm: plain
stacks, and residual branches of the same layers with nothing after the addition. The
norm of the first convolution of the net is before its activation in all arms. Stated
beforehand: 20 layers and one rate.
"""

from cnnjax.ablation.define import Ablation, Axis, Gate, Paper, Scale, lower

IOFFE = Paper("Ioffe & Szegedy 2015, arXiv 1502.03167")
MISHKIN = Paper("Mishkin et al. 2016, arXiv 1606.02228, benchmark (batchnorm.md)")

NET = Axis.over("net", "model.residual", {"plain": False, "residual": True})
ORDER = Axis.over(
    "order",
    "model.placement",
    {"before": "act_before_add", "after": "norm_after_act"},
    title="norm and activation",
)

MATTERS = {"matters": 1.0, "because": "the benchmark has 1.5 points on ImageNet"}
CLAIMS = [
    lower(
        "test_error",
        "plain-after",
        than="plain-before",
        headline=True,
        source=MISHKIN,
        published="CaffeNet, ImageNet at 128 pixels: 50.7 % against 52.2 %, one run",
        name="plain, test",
        sentence="In a plain net, norm after the activation gives a lower test error "
        "than before it.",
        **MATTERS,
    ),
    lower(
        "train_loss",
        "plain-before",
        than="plain-after",
        source=IOFFE.at("Section 3.2 (in words)"),
        published="what a convolution gives is more nearly Gaussian, in words",
        name="plain, training",
        sentence="In a plain net, norm before the activation gives a lower training "
        "loss than after it.",
        matters=0.02,
        because="a fifth of the loss at which training images count as nearly fitted",
    ),
    lower(
        "test_error",
        "residual-after",
        than="residual-before",
        source="no paper known to us; a question of forums since 2016",
        published="nothing",
        name="residual, test",
        sentence="On a residual branch, norm after the activation gives a lower test "
        "error than before it.",
        **MATTERS,
    ),
]

SCALES = {
    "smoke": Scale(
        recipe="resnet_digits",
        seeds=2,
        grids=[{"net": ["plain"]}],
        overrides={"train.epochs": 1, "model.depth": 8},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="resnet_few_cifar10",
        seeds=5,
        overrides={
            "model.widths": (8, 16, 32),
            "model.depth": 14,
            "data.image_size": 16,
            "data.num_test": 4000,
            "train.batch_size": 64,
            "train.epochs": 15.0,
        },
        note="5,000 images of CIFAR-10 at 16x16, 14 layers; minutes on two cores",
        gate=Gate(
            at_most=1.15,
            control="plain-before",
            because="half of the loss of guessing: this scale shows early training",
        ),
    ),
    "workstation": Scale(
        recipe="resnet_few_cifar10",
        seeds=5,
        note="5,000 images of CIFAR-10 at 32x32, 20 layers, 2,344 steps; "
        "hours on two cores",
        gate=Gate(
            at_most=0.1,
            control="residual-before",
            because="15 epochs without augmentation are to let a residual net of 20 "
            "layers nearly fit its 5,000 images",
        ),
    ),
    "paper": Scale(
        recipe="resnet_cifar10",
        seeds=5,
        note="CIFAR-10, 20 layers, the recipe of He et al. 2015",
        gate=Gate(
            at_most=0.5,
            control="residual-before",
            because="at 0.5 the right class gets 61%, with augmented images too",
        ),
    ),
}


def get_ablation() -> Ablation:
    """Plain and residual nets with the norm before or after each activation."""
    return Ablation(
        name="norm_order",
        title="Norm before or after the activation",
        question="Should batch norm come before or after the activation?",
        source=f"{IOFFE.at('Section 3.2')}; {MISHKIN}",
        axes=[NET, ORDER],
        arm_name="{net}-{order}",
        x_axis="order",
        series_axis="net",
        metrics=["test_error", "train_loss", "train_error", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="Before the activation the norm sets how many units are on; after "
        "it the next layer sees centred values.",
        limits="One rate for both. On a branch that ends in an activation the addition "
        "can only raise values: residual arms differ in that as well.",
    )
