"""What shortcuts change within a net: how sharp its loss is, how alike its blocks are.

Source: Li et al. 2017, arXiv 1712.09913, Section 6, Figures 1 and 5;
Greff et al. 2016, arXiv 1612.07771; Kornblith et al. 2019, arXiv 1905.00414 (CKA).
Command: ./launch.sh ablate --ablation=what_residual_nets_see --scale=laptop
As pictures: ./launch.sh look --workdir=... --views=landscape,space

Stated beforehand: views measure what has been trained, so plain nets must train as
well. By the published report of `degradation`, plain nets of 56 layers hardly learn the
digits in 15 epochs, and those of 32 nearly do; so the laptop goes to 32 layers, in 30
epochs. Depth 8 has one block that keeps the shape of its map, so likeness is compared
from depth 20 on.

Sharpness is the largest eigenvalue of the Hessian, as a decadic logarithm. The headline
measures directions in lengths of filters (the normalisation of Li et al.), since behind
a batch norm a longer filter has a smaller eigenvalue and computes the same. The paper
shows pictures of surfaces and no such number: only its order is claimed. A net that
fits its images better is flatter by the same number: see the training loss beside it.

Likeness is linear CKA of what goes into a block and comes out. Greff et al. have blocks
refine an estimate, which leaves much of it as it was. Plain nets too deep have layers
that are nearly alike as well (Kornblith et al., Figure 3): that would speak against.
"""

from cnnjax.ablation.define import (
    Ablation,
    Axis,
    Gate,
    Paper,
    Scale,
    higher,
    rises_more,
)

LI = Paper("Li et al. 2017, arXiv 1712.09913")
GREFF = Paper("Greff et al. 2016, arXiv 1612.07771")

NET = Axis(
    "net",
    {
        "plain": {"model.residual": False},
        "residual": {"model.residual": True, "model.shortcut": "A"},
    },
)
DEPTH = Axis(
    "depth",
    {str(depth): {"model.depth": depth} for depth in (8, 14, 20, 32, 56)},
    title="depth (weight layers)",
)

SHARPER = {
    "source": LI.at("Section 6, Figures 1 and 5 (surfaces, in words)"),
    "matters": 0.3,
    "because": "a factor of 2",
}
ALIKE = {
    "source": GREFF.at("Section 3 (in words)"),
    "matters": 0.05,
    "because": "a twentieth of the range of CKA, from 0 to 1",
}
CLAIMS = [
    *(
        higher(
            "sharpness",
            f"plain-{depth}",
            than=f"residual-{depth}",
            headline=depth == 32,
            **SHARPER,
        )
        for depth in (20, 32, 56)
    ),
    *(
        higher("curvature", f"plain-{depth}", than=f"residual-{depth}", **SHARPER)
        for depth in (32, 56)
    ),
    *(
        rises_more(
            "sharpness",
            ("plain-8", f"plain-{depth}"),
            than=("residual-8", f"residual-{depth}"),
            **SHARPER,
        )
        for depth in (32, 56)
    ),
    *(
        higher("likeness", f"residual-{depth}", than=f"plain-{depth}", **ALIKE)
        for depth in (20, 32, 56)
    ),
]

PROBES = {"eval.probes": ("curvature", "likeness")}
SCALES = {
    "smoke": Scale(
        recipe="resnet_digits",
        seeds=2,
        grids=[{"net": ["plain", "residual"], "depth": [8, 14]}],
        overrides=PROBES | {"train.epochs": 1.0},
        note="8x8 digits, one epoch",
    ),
    "laptop": Scale(
        recipe="resnet_digits",
        seeds=5,
        grids=[{"net": ["plain", "residual"], "depth": [8, 20, 32]}],
        overrides=PROBES | {"train.epochs": 30.0, "eval.keep_best": False},
        note="8x8 digits of scikit-learn (real), 30 epochs; minutes on two CPU cores",
        gate=Gate(
            at_most=0.1,
            control="residual-20",
            because="residual nets converge in these epochs, to a loss below 0.1",
        ),
    ),
    "paper": Scale(
        recipe="resnet_cifar10",
        seeds=5,
        grids=[{"net": ["plain", "residual"], "depth": [8, 20, 32, 56]}],
        overrides=PROBES,
        note="CIFAR-10, the recipe of He et al.; for accelerators",
        gate=Gate(
            at_most=0.5,
            control="residual-20",
            because="at 0.5 the right class gets 61%; plain nets are to be allowed a "
            "higher training error, as that is where they are sharp",
        ),
    ),
}


def get_ablation() -> Ablation:
    """Plain and residual nets over depth, looked into after training."""
    return Ablation(
        name="what_residual_nets_see",
        title="What residual nets see",
        question="Do shortcuts make the loss flatter and neighbouring layers alike?",
        source=LI.at("Section 6"),
        axes=[NET, DEPTH],
        arm_name="{net}-{depth}",
        x_axis="depth",
        series_axis="net",
        metrics=[
            *("sharpness", "curvature", "likeness"),
            *("train_error", "train_loss", "test_error"),
        ],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="Both are views of `look` (landscape, space), as one number a run.",
        limits="One eigenvalue is of the sharpest direction alone, on 128 images. "
        "It falls as a net fits them: compare training losses. CKA over 256 images is "
        "biased towards 1, for both nets.",
    )
