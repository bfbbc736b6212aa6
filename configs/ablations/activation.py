"""Activation functions with depth: sigmoid, tanh, softsign, rectifiers and smooth ones.

Source: Glorot & Bengio 2010 (AISTATS), Section 3, Table 1; Krizhevsky et al. 2012,
Section 3.1, Fig. 1; Nair & Hinton 2010 (ICML) for rectifiers; Ioffe & Szegedy 2015,
arXiv 1502.03167, Section 4.2.2 for sigmoid with batch norm.
Command: ./launch.sh ablate --ablation=activation --scale=laptop

Plain stacks of convolutions without norm, all from the normalised initialisation of
Glorot & Bengio ("N" in their table), because none favours sigmoid or tanh less; with
batch norm at the greatest depth only. Stated beforehand: 2, 4 and 8 convolutions of 8
and 16 channels on digits, and the rate of the recipe, 0.1, for all: of 0.02, 0.05 and
0.1 it is the one with which tanh-4 fits the training images. A run that ends with more
than 60% training error has failed. Deep nets fail on some seeds, so errors have a heavy
tail, and the signs of the differences decide (sign-flip test).
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

GLOROT = Paper("Glorot & Bengio 2010")
KRIZHEVSKY = Paper("Krizhevsky et al. 2012")
MAAS = Paper("Maas et al. 2013 (ICML)")
IOFFE = Paper("Ioffe & Szegedy 2015, arXiv 1502.03167")

ACT = Axis(
    "act",
    {
        "sigmoid": {"model.act": "sigmoid"},
        "tanh": {"model.act": "tanh"},
        "softsign": {"model.act": "softsign"},
        "relu": {"model.act": "relu"},
        "leaky_relu": {"model.act": "leaky_relu"},
        "elu": {"model.act": "elu"},
        "silu": {"model.act": "silu"},
        "gelu": {"model.act": "gelu"},
        "sigmoid-norm": {"model.act": "sigmoid", "norm.kind": "batch"},
        "tanh-norm": {"model.act": "tanh", "norm.kind": "batch"},
        "relu-norm": {"model.act": "relu", "norm.kind": "batch"},
    },
    title="activation",
)
# Two stages of as many convolutions each.
LAYERS = Axis.over(
    "layers", "model.num_convs", {2: 1, 4: 2, 8: 4}, title="depth (convolutions)"
)

POINT = {
    "matters": 1.0,
    "because": "1 point is 3 of the 300 test digits, or 13 of those trained on: a "
    "smaller one is a matter of a few images",
}
# Of nets that fail on some seeds: the mean of few runs is that of its outliers.
TAIL = {"test": "sign_flip"}
# Compares nets that trained; how many did not is compared beside it.
TRAINED = TAIL | {"failures": "apart"}
TABLE_1 = GLOROT.at("Table 1 (CIFAR-10, 5 dense layers)")
CLAIMS = [
    higher(
        "train_error",
        "sigmoid-8",
        than="tanh-8",
        source=TABLE_1,
        name="sigmoid fails deep",
        headline=True,
        **POINT,
        **TAIL,
        published="test error 57.3 % against 52.9 %; Shapeset 82.6 % against 15.6 % "
        "(not verified here)",
    ),
    rises_more(
        "train_error",
        ("sigmoid-2", "sigmoid-8"),
        than=("tanh-2", "tanh-8"),
        source=GLOROT.at("Section 3.1"),
        name="sigmoid x depth",
        **POINT,
        **TAIL,
        published="the order only: the top layer saturates when there are 4 or more",
    ),
    not_higher(
        "test_error",
        "softsign-8",
        than="tanh-8",
        tolerance=1.0,
        source=TABLE_1,
        name="softsign",
        **TRAINED,
        published="53.8 % against 52.9 % (not verified here)",
    ),
    lower(
        "train_loss",
        "relu-4",
        than="tanh-4",
        source=KRIZHEVSKY.at("Fig. 1"),
        name="relu is faster",
        matters=0.05,
        because="a loss of 0.05 gives the right class 95%: nets below it have learnt "
        "the images alike",
        **TAIL,
        sentence="After the same number of steps ReLU has a lower training loss than "
        "tanh in a net of 4 layers.",
        published="25 % training error six times sooner, at rates of their own",
    ),
    not_higher(
        "test_error",
        "leaky_relu-8",
        than="relu-8",
        tolerance=1.0,
        source=MAAS.at("Section 4"),
        name="leaky",
        **TRAINED,
        published="nearly identical (not verified here)",
    ),
    lower(
        "train_error",
        "sigmoid-norm-8",
        than="sigmoid-8",
        source=IOFFE.at("Section 4.2.2"),
        name="norm saves sigmoid",
        **POINT,
        **TAIL,
        sentence="With 8 layers batch norm lowers the training error of sigmoid.",
        published="ImageNet: 30.2 % error with (BN-x5-Sigmoid, which has 5 times the "
        "rate and the other changes of Section 4.2.1 as well), 99.9 % without",
    ),
]

PLAIN = {"norm.kind": "none", "init.kernel": "glorot_uniform"}
OVER_DEPTH = {"act": ["sigmoid", "tanh", "softsign", "relu"]}
DEEP = {
    "act": [
        "leaky_relu",
        "elu",
        "silu",
        "gelu",
        "sigmoid-norm",
        "tanh-norm",
        "relu-norm",
    ],
    "layers": [8],
}
SCALES = {
    "smoke": Scale(
        recipe="convnet_digits",
        seeds=2,
        grids=[{"act": ["sigmoid", "relu"], "layers": [2]}],
        overrides=PLAIN | {"model.widths": (8, 16), "train.epochs": 1},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="convnet_digits",
        seeds=8,
        grids=[OVER_DEPTH, DEEP],
        overrides=PLAIN | {"model.widths": (8, 16)},
        note="8x8 digits of scikit-learn (real); minutes on two CPU cores",
        gate=Gate(
            at_most=0.3,
            control="tanh-4",
            because="the rate was chosen so that tanh-4 fits the digits: at 0.3 the "
            "right class gets 74%",
        ),
    ),
    "paper": Scale(
        recipe="convnet_cifar10",
        seeds=5,
        grids=[OVER_DEPTH, DEEP],
        overrides=PLAIN | {"model.widths": (64, 128), "train.epochs": 50.0},
        note="CIFAR-10, plain stacks; the sources have nets of their own",
        gate=Gate(
            at_most=0.5,
            control="tanh-4",
            because="no source prints losses: at 0.5 the right class gets 61%, and "
            "most of what plain nets can learn in 50 epochs is learnt",
        ),
    ),
}


def get_ablation() -> Ablation:
    """Nets of convolutions that differ in the activation, the depth and the norm."""
    return Ablation(
        name="activation",
        title="Activation functions and depth",
        question="Which activations train deep nets, and does normalisation change it?",
        source="Glorot & Bengio 2010; Krizhevsky et al. 2012; Nair & Hinton 2010",
        axes=[ACT, LAYERS],
        arm_name="{act}-{layers}",
        x_axis="layers",
        series_axis="act",
        metrics=["train_error", "test_error", "train_loss", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        diverged_error=90.0,
        # Two thirds of the error of guessing: less than a third has been learnt.
        failed_above=60.0,
        background="A sigmoid gives positive values and slopes of at most 1/4, so "
        "without norm the signal and its gradient fade with depth.",
        limits="One rate for all arms: another may suit a function better, so this "
        "compares them under equal settings. The sources used dense nets, longer "
        "training and a rate for each function.",
    )
