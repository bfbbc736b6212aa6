"""Batch norm, learning rate and the scale of the initial weights.

Source: Ioffe & Szegedy 2015, arXiv 1502.03167, Section 3.3 (scale of weights) and
Section 4.2, Figs. 2 and 3 (rates times 5 and 30); Bjorck et al. 2018, arXiv 1806.02375,
Fig. 1 (equal rates); Santurkar et al. 2018, arXiv 1805.11604, Section 2 (robustness).
Command: ./launch.sh ablate --ablation=bn_learning_rate --scale=laptop

Stated beforehand: eight convolutions; x1 is 0.005, with which the net without norm
trains; kernels from He's rule times 1/2, 1 and 2, which without norm is a signal of
1/500 to 500 times the size at the head. The two axes are crossed, with and without.
A run whose loss becomes infinite has failed, and counts with the error of guessing.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Scale

IOFFE = "Ioffe & Szegedy 2015, arXiv 1502.03167"
BJORCK = "Bjorck et al. 2018, arXiv 1806.02375, Fig. 1"
TRAIN, TEST = "train_error", "test_error"
# fmt: off
RATES, WEIGHTS = {"x1": 0.005, "x5": 0.025, "x30": 0.15}, ("0.5", "1", "2")
CLAIMS = (
    Claim("x5 needs norm", "At 5 times the rate the net without norm has a training"
          " error more than 10 points above that with batch norm.",
          f"{IOFFE}, Section 4.2.2", TRAIN, {"none-x5-w1": 1, "batch-x5-w1": -1}, 10.0,
          "parameters reach machine infinity without"),
    Claim("x30 needs norm", "At 30 times the rate the net without norm has a training"
          " error more than 10 points above that with batch norm.",
          f"{IOFFE}, Section 4.2.2", TRAIN, {"none-x30-w1": 1, "batch-x30-w1": -1},
          10.0, "30 times trains with batch norm alone"),
    Claim("high rate, test", "With batch norm, 30 times the rate ends at a lower test"
          " error than the rate itself.", f"{IOFFE}, Fig. 3", TEST,
          {"batch-x1-w1": 1, "batch-x30-w1": -1}, published="25.2 % against 27.3 %"),
    Claim("not the norm alone", "At the rate of the net without norm, batch norm is at"
          " most 1 point better in test error.", BJORCK, TEST,
          {"batch-x1-w1": 1, "none-x1-w1": -1}, -1.0, "about equal (curves)"),
    Claim("large weights", "With batch norm, weights twice as large cost at most 1"
          " point of training error.", f"{IOFFE}, Section 3.3", TRAIN,
          {"batch-x1-w1": 1, "batch-x1-w2": -1}, -1.0, "BN(aW u) = BN(W u), derived"),
    Claim("small weights", "With batch norm, weights half as large cost at most 1 point"
          " of training error.", f"{IOFFE}, Section 3.3", TRAIN,
          {"batch-x1-w1": 1, "batch-x1-w0.5": -1}, -1.0, "as above"),
    Claim("scale without", "Without norm, weights half as large raise the training"
          " error by more than with batch norm.", f"{IOFFE}, Section 1", TRAIN,
          {"none-x1-w0.5": 1, "none-x1-w1": -1, "batch-x1-w0.5": -1, "batch-x1-w1": 1},
          published="be less careful about initialization, in words"),
)
SMALL = {"model.num_convs": 4, "model.widths": (12, 24)}
SCALES = {
    "smoke": Scale("convnet_digits", SMALL | {"train.epochs": 1},
                   {"rate": ("x1", "x30"), "weights": ("1",)}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("convnet_digits", SMALL, {}, 5,
                    "8x8 digits of scikit-learn (real); minutes on two CPU cores"),
    "paper": Scale("convnet_cifar10", {"model.num_convs": 4}, {}, 5,
                   "CIFAR-10, twelve convolutions; the sources use ImageNet and"
                   " CIFAR-10 with nets of their own"),
}


def get_ablation() -> Ablation:
    """Rates times scales of the initial weights, with and without batch norm."""
    return Ablation(
        name="bn_learning_rate", title="Batch norm, learning rate and initial weights",
        question="Does batch norm allow higher rates and any scale of weights?",
        source=f"{IOFFE}, Sections 3.3 and 4.2; {BJORCK}",
        arm_name="{norm}-{rate}-w{weights}",
        axes=(Axis("norm", {kind: {"norm.kind": kind} for kind in ("none", "batch")}),
              Axis("rate", {k: {"schedule.learning_rate": v} for k, v in RATES.items()},
                   "learning rate (times 0.005)"),
              Axis("weights", {w: {"init.scale": float(w)} for w in WEIGHTS},
                   "scale of initial weights")),
        x_axis="rate", series_axis="norm",
        metrics=(TRAIN, TEST, "train_loss", "validation_error"),
        claims=CLAIMS, scales=SCALES, diverged_error=90.0,
        background="Behind a batch norm the scale of the weights drops out of the"
        " signal, and the gradient is the smaller the larger the weights are.",
        limits="One rate of the net without norm, not its best; a warm-up, which the"
        " sources did not have, makes high rates easier for both.")
