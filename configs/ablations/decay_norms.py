"""Weight decay on the scales and shifts of norms, and on biases, or not.

Source: He et al. 2018, arXiv 1812.01187, Section 3.1 and Table 4 ("no bias decay");
Goyal et al. 2017, arXiv 1706.02677, Section 5.1 (no decay on the scales and shifts of
batch norm). Their statements from memory, not verified here.
Command: ./launch.sh ablate --ablation=decay_norms --scale=laptop

`all` decays every parameter, as the papers of 2015 and 2016; `no_norms` leaves out the
scales and shifts of norms; `weights_only` leaves out biases too. Stated beforehand: at
the usual decay (1e-4) and at ten times that, where an effect would show; with batch
norm a net of this kind has one bias, that of the head.
"""

from cnnjax.ablation.define import Ablation, Axis, Gate, Paper, Scale, lower, not_higher

HE = Paper("He et al. 2018, arXiv 1812.01187")
GOYAL = Paper("Goyal et al. 2017, arXiv 1706.02677")

NORMS = ("norm[^/]*/(scale|bias)$",)
DECAYED = Axis.over(
    "decayed",
    "optimizer.decay_exclude",
    {"all": (), "no_norms": NORMS, "weights_only": (*NORMS, "bias$")},
    title="what decays",
)
DECAY = Axis.over(
    "decay",
    "optimizer.weight_decay",
    {"1e-4": 1e-4, "1e-3": 1e-3},
    title="weight decay",
)

CLAIMS = [
    lower(
        "test_error",
        "weights_only-1e-4",
        than="all-1e-4",
        headline=True,
        source=HE.at("Section 3.1"),
        published="a heuristic of large batches; not verified here",
        name="usual decay",
        sentence="At the usual decay, leaving norms and biases out lowers the test "
        "error.",
        matters=1.0,
        because="a smaller gain is not worth a setting of its own",
    ),
    not_higher(
        "test_error",
        "weights_only-1e-3",
        than="all-1e-3",
        tolerance=1.0,
        source=HE.at("Section 3.1"),
        published="not verified here",
        name="tenfold decay",
    ),
    not_higher(
        "test_error",
        "no_norms-1e-4",
        than="weights_only-1e-4",
        tolerance=1.0,
        source=GOYAL.at("Section 5.1"),
        published="no decay on scales and shifts; not verified here",
        name="biases hardly count",
    ),
    lower(
        "train_loss",
        "weights_only-1e-3",
        than="all-1e-3",
        source=HE.at("Section 3.1"),
        published="not verified here",
        matters=0.05,
        because="0.05 nats are 5% in the probability of the right class",
        name="fits better",
        sentence="At ten times the decay, leaving norms and biases out lowers the "
        "training loss.",
    ),
]

SCALES = {
    "smoke": Scale(
        recipe="resnet_digits",
        seeds=2,
        grids=[{"decayed": ["all", "weights_only"], "decay": ["1e-4"]}],
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
            control="weights_only-1e-4",
            because="half of the loss of guessing: this scale shows early training",
        ),
    ),
    "workstation": Scale(
        recipe="resnet_few_cifar10",
        seeds=3,
        note="5,000 images of CIFAR-10 at 32x32, ResNet-20, 2,344 steps; "
        "hours on two cores",
        gate=Gate(
            at_most=0.1,
            control="weights_only-1e-4",
            because="15 epochs without augmentation are to let the net with the least "
            "decay nearly fit its 5,000 images",
        ),
    ),
    "paper": Scale(
        recipe="resnet_cifar10",
        seeds=5,
        note="CIFAR-10, the recipe of He et al. 2015; the sources have ImageNet",
        gate=Gate(
            at_most=0.5,
            control="weights_only-1e-4",
            because="at 0.5 the right class gets 61%, with augmented images too",
        ),
    ),
}


def get_ablation() -> Ablation:
    """What weight decay acts on, at two strengths."""
    return Ablation(
        name="decay_norms",
        title="Weight decay on norms and biases",
        question="Should weight decay leave out norms and biases?",
        source=f"{HE.at('Section 3.1')}; {GOYAL.at('Section 5.1')}",
        axes=[DECAYED, DECAY],
        arm_name="{decayed}-{decay}",
        x_axis="decayed",
        series_axis="decay",
        metrics=["test_error", "train_loss", "train_error", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="Under batch norm the decay of a convolution acts on its rate, that "
        "of a scale on the function.",
        limits="Residual nets with batch norm only; the sources add other changes.",
    )
