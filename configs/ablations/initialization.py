"""Initial weights with depth: fixed deviation, Glorot, He, orthogonal; without norm.

Source: He et al. 2015, arXiv 1502.01852, Section 2.2, Fig. 2 (22 layers: both converge)
and Fig. 3 (30 layers: Xavier stalls, He converges); Glorot & Bengio 2010 (AISTATS);
Krizhevsky et al. 2012, Section 5 (deviation 0.01); Saxe et al. 2013, arXiv 1312.6120.
Command: ./launch.sh ablate --ablation=initialization --scale=laptop

Plain stacks of convolutions with rectifiers, no norm; all kernels by one rule. Stated
beforehand: depths 6, 22 and 30, as in the figures and one that all can train; one rate
and batch size for all arms, 0.005 and 32, with which the net of 30 layers trains from
He's weights. LeCun's rule is Glorot's wherever as many channels go in as out, so it has
no arm.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Scale

HE = "He et al. 2015, arXiv 1502.01852"
TRAIN, LOSS = "train_error", "train_loss"
# fmt: off
KERNELS = {"fixed": ("normal", 0.01), "glorot": ("glorot_normal", 1.0),
           "he": ("he_normal", 1.0), "he-out": ("he_normal_fan_out", 1.0),
           "orthogonal": ("orthogonal", 2.0**0.5)}  # the factor of rectifiers
CLAIMS = (
    Claim("Glorot stalls", "With 30 layers Glorot's weights end more than 10 points"
          " higher in training error than He's.", f"{HE}, Fig. 3", TRAIN,
          {"glorot-30": 1, "he-30": -1}, 10.0, "stalls against converges (curves)"),
    Claim("both at 22", "With 22 layers Glorot's weights end at most 10 points higher"
          " in training error than He's.", f"{HE}, Fig. 2", TRAIN,
          {"he-22": 1, "glorot-22": -1}, -10.0, "both converge, He's earlier (curves)"),
    Claim("He is earlier", "With 22 layers He's weights end at a lower training loss.",
          f"{HE}, Fig. 2", LOSS, {"glorot-22": 1, "he-22": -1},
          published="the order only (curves)"),
    Claim("fixed fails", "With 30 layers weights of deviation 0.01 end more than 10"
          " points higher in training error than He's.", f"{HE}, Section 2.2", TRAIN,
          {"fixed-30": 1, "he-30": -1}, 10.0,
          "more than 8 layers have difficulties to converge, in words"),
    Claim("either fan", "With 30 layers fan-out is at most 5 points worse in training"
          " error than fan-in.", f"{HE}, Section 2.2", TRAIN,
          {"he-30": 1, "he-out-30": -1}, -5.0, "either is sufficient, derived"),
    Claim("orthogonal", "With 30 layers orthogonal weights, times the root of 2, are at"
          " most 5 points worse in training error than He's.",
          "Saxe et al. 2013; Mishkin & Matas 2015, arXiv 1511.06422", TRAIN,
          {"he-30": 1, "orthogonal-30": -1}, -5.0, "trains deep nets, in words"),
)
DEPTHS = {str(2 * n): {"model.num_convs": n} for n in (3, 11, 15)}
PLAIN = {"norm.kind": "none", "schedule.learning_rate": 0.005,
         "train.batch_size": 32}
GRID = {"init": ("fixed", "glorot", "he"), "depth": ("6",)}
MORE = ({"init": ("glorot", "he"), "depth": ("22",)}, {"depth": ("30",)})
SCALES = {
    "smoke": Scale("convnet_digits", PLAIN | {"train.epochs": 1}, GRID, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("convnet_digits", PLAIN, GRID, 5,
                    "8x8 digits of scikit-learn (real); minutes on two CPU cores",
                    also=MORE),
    "paper": Scale("convnet_cifar10", PLAIN | {"model.widths": (64, 128)}, GRID, 5,
                   "CIFAR-10, 100 epochs; the source is on ImageNet", also=MORE),
}


def get_ablation() -> Ablation:
    """Stacks of convolutions without norm, over initial weights and depth."""
    return Ablation(
        name="initialization", title="Initial weights and depth",
        question="From which initial weights do deep rectifier nets without norm"
        " train?",
        source=f"{HE}, Section 2.2", arm_name="{init}-{depth}",
        axes=(Axis("init", {name: {"init.kernel": kernel, "init.scale": scale}
                            for name, (kernel, scale) in KERNELS.items()}),
              Axis("depth", DEPTHS, "depth (convolutions)")),
        x_axis="depth", series_axis="init",
        metrics=(TRAIN, "test_error", LOSS, "validation_error"),
        claims=CLAIMS, scales=SCALES, diverged_error=90.0,
        background="A rectifier halves the mean square of a signal. Glorot's variance"
        " of 1 / fan lets it fade by 2 a layer, 2^30 in variance over 30 layers; He's"
        " variance of 2 / fan keeps it.",
        limits="One learning rate for all arms, few steps: 'fails' means within this"
        " budget. The kernel of the head follows the rule, too.")
