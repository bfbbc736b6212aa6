"""Activation functions with depth: sigmoid, tanh, softsign, rectifiers and smooth ones.

Source: Glorot & Bengio 2010 (AISTATS), Section 3, Table 1; Krizhevsky et al. 2012,
Section 3.1, Fig. 1; Nair & Hinton 2010 (ICML) for rectifiers; Ioffe & Szegedy 2015,
arXiv 1502.03167, Section 4.2.2 for sigmoid with batch norm.
Command: ./launch.sh ablate --ablation=activation --scale=laptop

Plain stacks of convolutions without norm, all from the normalised initialisation of
Glorot & Bengio ("N" in their table), because none favours sigmoid or tanh less; with
batch norm at the greatest depth only. Stated beforehand: 2, 4 and 8 convolutions of 8
and 16 channels on digits, and the rate of the recipe, 0.1, for all: of 0.02, 0.05 and
0.1 it is the one with which tanh-4 fits the training images.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Scale

GLOROT = "Glorot & Bengio 2010, Table 1 (CIFAR-10, 5 dense layers)"
KRIZHEVSKY = "Krizhevsky et al. 2012, Fig. 1"
IOFFE = "Ioffe & Szegedy 2015, arXiv 1502.03167, Section 4.2.2"
TRAIN, LOSS, TEST = "train_error", "train_loss", "test_error"
# fmt: off
ACTS = ("sigmoid", "tanh", "softsign", "relu", "leaky_relu", "elu", "silu", "gelu")
CLAIMS = (
    Claim("sigmoid fails deep", "With 8 layers sigmoid has a higher training error than"
          " tanh.", GLOROT, TRAIN, {"sigmoid-8": 1, "tanh-8": -1},
          published="test error 57.3 % against 52.9 %; Shapeset 82.6 % against 15.6 %"),
    Claim("sigmoid x depth", "From 2 to 8 layers the training error of sigmoid rises by"
          " more than that of tanh.", "Glorot & Bengio 2010, Section 3.1", TRAIN,
          {"sigmoid-8": 1, "sigmoid-2": -1, "tanh-8": -1, "tanh-2": 1},
          published="the order only: the top layer saturates when there are 4 or more"),
    Claim("softsign", "With 8 layers softsign is at most 1 point worse in test error"
          " than tanh.", GLOROT, TEST, {"tanh-8": 1, "softsign-8": -1}, -1.0,
          "53.8 % against 52.9 %"),
    Claim("relu is faster", "After the same number of steps ReLU has a lower training"
          " loss than tanh in a net of 4 layers.", KRIZHEVSKY, LOSS,
          {"tanh-4": 1, "relu-4": -1},
          published="25 % training error six times sooner, at rates of their own"),
    Claim("leaky", "Leaky ReLU is within 1 point of ReLU in test error (one side: not"
          " worse).", "Maas et al. 2013 (ICML), Section 4", TEST,
          {"relu-8": 1, "leaky_relu-8": -1}, -1.0, "nearly identical"),
    Claim("norm saves sigmoid", "With 8 layers batch norm lowers the training error of"
          " sigmoid.", IOFFE, TRAIN, {"sigmoid-8": 1, "sigmoid-norm-8": -1},
          published="ImageNet: 30.2 % error with, 99.9 % without"),
)
LAYERS = {str(2 * n): {"model.num_convs": n} for n in (1, 2, 4)}
PLAIN = {"norm.kind": "none", "init.kernel": "glorot_uniform"}
FUNCTIONS = {name: {"model.act": name} for name in ACTS} | {
    f"{name}-norm": {"model.act": name, "norm.kind": "batch"}
    for name in ("sigmoid", "tanh", "relu")}
DEEP = {"act": tuple(FUNCTIONS)[4:], "layers": ("8",)}
SMALL = PLAIN | {"model.widths": (8, 16)}
SCALES = {
    "smoke": Scale("convnet_digits", SMALL | {"train.epochs": 1},
                   {"act": ("sigmoid", "relu"), "layers": ("2",)}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("convnet_digits", SMALL, {"act": ACTS[:4]}, 8,
                    "8x8 digits of scikit-learn (real); minutes on two CPU cores",
                    also=(DEEP,)),
    "paper": Scale("convnet_cifar10", PLAIN | {"train.epochs": 50.0,
                                               "model.widths": (64, 128)},
                   {"act": ACTS[:4]}, 5,
                   "CIFAR-10, plain stacks; the sources have nets of their own",
                   also=(DEEP,)),
}


def get_ablation() -> Ablation:
    """Nets of convolutions that differ in the activation, the depth and the norm."""
    return Ablation(
        name="activation", title="Activation functions and depth",
        question="Which activations train deep nets, and does normalisation change it?",
        source="Glorot & Bengio 2010; Krizhevsky et al. 2012; Nair & Hinton 2010",
        arm_name="{act}-{layers}",
        axes=(Axis("act", FUNCTIONS, "activation"),
              Axis("layers", LAYERS, "depth (convolutions)")),
        x_axis="layers", series_axis="act", metrics=(TRAIN, TEST, LOSS,
                                                     "validation_error"),
        claims=CLAIMS, scales=SCALES, diverged_error=90.0,
        background="A sigmoid gives positive values and slopes of at most 1/4, so"
        " without norm the signal and its gradient fade with depth.",
        limits="One rate for all arms: another may suit a function better, so this says"
        " how well they go with the same settings. The sources used dense nets, longer"
        " training and rates of their own.")
