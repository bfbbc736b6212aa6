"""Ensembles: several seeds against several snapshots of one training.

Source: Huang et al. 2017, arXiv 1704.00109, Section 4 (snapshots of a cyclic rate);
Lakshminarayanan et al. 2017, arXiv 1612.01474, Section 3 (seeds). Their statements from
memory, not verified here.
Command: ./launch.sh ablate --ablation=ensemble --scale=laptop --data_dir=DATA

The error of an ensemble is that of averaged probabilities. `one` is a net alone, and
`seeds-2` and `seeds-3` are so many nets of different seeds, which cost so many times
as much. `snapshots-3` is one training whose rate falls three times, with the net at the
end of each fall; `cycles-3` is the last of these three alone. Stated beforehand: groups
of seeds do not overlap, so 15 seeds make five ensembles of three, and claims compare
these five with the same five first seeds of the other arms.
"""

from cnnjax.ablation.define import (
    Ablation,
    Axis,
    Gate,
    Paper,
    Scale,
    lower,
    not_higher,
)

HUANG = Paper("Huang et al. 2017, arXiv 1704.00109")
DEEP = Paper("Lakshminarayanan et al. 2017, arXiv 1612.01474")

CYCLES = {"schedule.cycles": 3}
NETS = Axis(
    "nets",
    {
        "one": {},
        "seeds-2": {"eval.members": 2},
        "seeds-3": {"eval.members": 3},
        "cycles-3": CYCLES,
        "snapshots-3": CYCLES | {"eval.snapshots": 3},
    },
    title="nets that are averaged",
)

POINT = {
    "matters": 1.0,
    "because": "1 point is 20 of the 2,000 test images that the probe looks at: a "
    "smaller gain is not worth three nets",
}
CLAIMS = [
    lower(
        "ensemble_error",
        "seeds-3",
        than="one",
        source=DEEP.at("Section 3.3"),
        name="seeds",
        headline=True,
        **POINT,
        published="in a figure: error falls with the number of nets",
    ),
    lower(
        "ensemble_error",
        "snapshots-3",
        than="cycles-3",
        source=HUANG.at("Section 4.3"),
        name="snapshots",
        sentence="Three snapshots of a cyclic rate together have a lower test error "
        "than the last of them.",
        **POINT,
        published="in words and figures",
    ),
    lower(
        "ensemble_error",
        "snapshots-3",
        than="one",
        source=HUANG.at("Table 1"),
        name="for the cost of one",
        sentence="Three snapshots, for the cost of one training, have a lower test "
        "error than one net.",
        **POINT,
        published="lower on all data sets but one net (not verified here)",
    ),
    lower(
        "ensemble_error",
        "seeds-3",
        than="snapshots-3",
        source=HUANG.at("Section 4.3"),
        name="seeds against snapshots",
        sentence="Three nets of three trainings have a lower test error than three "
        "snapshots of one.",
        **POINT,
        published="true ensembles are better, at several times the cost, in words",
    ),
    not_higher(
        "ensemble_error",
        "seeds-2",
        than="one",
        tolerance=1.0,
        source=DEEP.at("Section 3.3"),
        name="two are not worse",
        published="in a figure",
    ),
]

PROBED = {"eval.probes": ("ensemble",), "eval.every_epochs": 0.0}
SCALES = {
    "smoke": Scale(
        recipe="convnet_digits",
        seeds=3,
        grids=[{"nets": ["one", "seeds-3", "snapshots-3"]}],
        overrides=PROBED | {"train.epochs": 1},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="convnet_few_cifar10",
        seeds=15,
        overrides=PROBED | {"train.epochs": 12.0},
        note="5,000 images of CIFAR-10 at 16x16, 12 epochs; minutes on two CPU cores",
        gate=Gate(
            at_most=1.5,
            control="one",
            because="two thirds of the loss of guessing: the net tells classes apart, "
            "so that nets can disagree",
        ),
    ),
    "paper": Scale(
        recipe="convnet_cifar10",
        seeds=15,
        overrides=PROBED,
        note="CIFAR-10, 100 epochs; the sources have larger nets",
        gate=Gate(
            at_most=0.3,
            control="one",
            because="100 epochs with augmentation let such nets fit: at 0.3 the right "
            "class gets 74%",
        ),
    ),
}


def get_ablation() -> Ablation:
    """One net, more seeds of it, and more snapshots of it."""
    return Ablation(
        name="ensemble",
        title="Ensembles of seeds and of snapshots",
        question="How does error fall with the nets that are averaged, and are "
        "snapshots as good as seeds?",
        source=f"{HUANG.at('Section 4')}; {DEEP.at('Section 3')}",
        axes=[NETS],
        arm_name="{nets}",
        x_axis="nets",
        metrics=["ensemble_error", "test_error", "train_loss", "train_error"],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="Nets that err on different images correct each other. Seeds differ "
        "from the start; snapshots share all of their training up to the first.",
        limits="Few members, and probabilities of at most 2,000 test images. With a "
        "cyclic rate each of the snapshots has a third of the training.",
    )
