"""Initial weights with depth: fixed deviation, Glorot, He, orthogonal; without norm.

Source: He et al. 2015, arXiv 1502.01852, Section 2.2, Fig. 2 (22 layers: both converge)
and Fig. 3 (30 layers: Xavier stalls, He converges); Glorot & Bengio 2010 (AISTATS);
Krizhevsky et al. 2012, Section 5 (deviation 0.01); Saxe et al. 2013, arXiv 1312.6120.
Command: ./launch.sh ablate --ablation=initialization --scale=laptop

Plain stacks of convolutions with rectifiers, no norm; all kernels by one rule. Stated
beforehand: depths 6, 22 and 30, as in the figures and one that all can train; one rate
and batch size for all arms, 0.005 and 32, with which the net of 30 layers trains from
He's weights. LeCun's rule is Glorot's wherever as many channels go in as out, so it has
no arm. A run that ends with more than 60% training error has failed. Deep nets fail on
some seeds, so errors have a heavy tail, and the signs of the differences decide
(sign-flip test). Saxe et al. and Mishkin & Matas were not verified here.
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
)

HE = Paper("He et al. 2015, arXiv 1502.01852")
ORTHOGONAL = "Saxe et al. 2013; Mishkin & Matas 2015, arXiv 1511.06422"

INIT = Axis(
    "init",
    {
        "fixed": {"init.kernel": "normal", "init.scale": 0.01},
        "glorot": {"init.kernel": "glorot_normal", "init.scale": 1.0},
        "he": {"init.kernel": "he_normal", "init.scale": 1.0},
        "he-out": {"init.kernel": "he_normal_fan_out", "init.scale": 1.0},
        # The factor of rectifiers.
        "orthogonal": {"init.kernel": "orthogonal", "init.scale": 2.0**0.5},
    },
)
# Two stages of as many convolutions each.
DEPTH = Axis.over(
    "depth", "model.num_convs", {6: 3, 22: 11, 30: 15}, title="depth (convolutions)"
)

# Of nets that fail on some seeds: the mean of few runs is that of its outliers.
TAIL = {"test": "sign_flip"}
STALLS = TAIL | {
    "matters": 5.0,
    "because": "10 points stand for 'does not train', which 5 more or less leave open",
}
CLAIMS = [
    higher(
        "train_error",
        "glorot-30",
        than="he-30",
        margin=10.0,
        source=HE.at("Fig. 3"),
        name="Glorot stalls",
        headline=True,
        **STALLS,
        published="stalls against converges (curves)",
    ),
    not_higher(
        "train_error",
        "glorot-22",
        than="he-22",
        tolerance=10.0,
        source=HE.at("Fig. 2"),
        name="both at 22",
        failures="apart",
        **TAIL,
        published="both converge, He's earlier (curves)",
    ),
    lower(
        "train_loss",
        "he-22",
        than="glorot-22",
        source=HE.at("Fig. 2 (curves)"),
        name="He is earlier",
        matters=0.05,
        because="a loss of 0.05 gives the right class 95%: nets below it have learnt "
        "the images alike",
        **TAIL,
    ),
    higher(
        "train_error",
        "fixed-30",
        than="he-30",
        margin=10.0,
        source=HE.at("Section 2.2"),
        name="fixed fails",
        **STALLS,
        sentence="With 30 layers weights of deviation 0.01 end more than 10 points "
        "higher in training error than He's.",
        published="more than 8 layers have difficulties to converge, in words",
    ),
    not_higher(
        "train_error",
        "he-out-30",
        than="he-30",
        tolerance=5.0,
        source=HE.at("Section 2.2"),
        name="either fan",
        **TAIL,
        sentence="With 30 layers fan-out is at most 5 points worse in training error "
        "than fan-in.",
        published="either is sufficient, derived",
    ),
    not_higher(
        "train_error",
        "orthogonal-30",
        than="he-30",
        tolerance=5.0,
        source=ORTHOGONAL,
        name="orthogonal",
        **TAIL,
        published="trains deep nets, in words (not verified here)",
    ),
]

PLAIN = {"norm.kind": "none", "schedule.learning_rate": 0.005, "train.batch_size": 32}
SHALLOW = {"init": ["fixed", "glorot", "he"], "depth": [6]}
DEEP = [{"init": ["glorot", "he"], "depth": [22]}, {"depth": [30]}]
SCALES = {
    "smoke": Scale(
        recipe="convnet_digits",
        seeds=2,
        grids=[SHALLOW],
        overrides=PLAIN | {"train.epochs": 1},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="convnet_digits",
        seeds=5,
        grids=[SHALLOW, *DEEP],
        overrides=PLAIN,
        note="8x8 digits of scikit-learn (real); minutes on two CPU cores",
        gate=Gate(
            at_most=0.5,
            control="glorot-22",
            because="in Fig. 2 both rules train 22 layers: steps in which Glorot's "
            "does not are too few to say that it fails at 30",
        ),
    ),
    "paper": Scale(
        recipe="convnet_cifar10",
        seeds=5,
        grids=[SHALLOW, *DEEP],
        overrides=PLAIN | {"model.widths": (64, 128)},
        note="CIFAR-10, 100 epochs; the source is on ImageNet",
        gate=Gate(
            at_most=0.5,
            control="glorot-22",
            because="in Fig. 2 both rules train 22 layers: steps in which Glorot's "
            "does not are too few to say that it fails at 30",
        ),
    ),
}


def get_ablation() -> Ablation:
    """Stacks of convolutions without norm, over initial weights and depth."""
    return Ablation(
        name="initialization",
        title="Initial weights and depth",
        question="From which initial weights do deep rectifier nets without norm "
        "train?",
        source=HE.at("Section 2.2"),
        axes=[INIT, DEPTH],
        arm_name="{init}-{depth}",
        x_axis="depth",
        series_axis="init",
        metrics=["train_error", "test_error", "train_loss", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        diverged_error=90.0,
        # Two thirds of the error of guessing: less than a third has been learnt.
        failed_above=60.0,
        background="A rectifier halves the mean square of a signal. Glorot's variance "
        "of 1 / fan lets it fade by 2 a layer, 2^30 in variance over 30 layers; He's "
        "variance of 2 / fan keeps it.",
        limits="One learning rate for all arms, few steps: 'fails' means within this "
        "budget. The kernel of the head follows the rule, too. Where Glorot's and the "
        "fixed weights both guess, the two claims on them are the same numbers and "
        "count as one.",
    )
