"""Batch norm in transfer: do its statistics move, and do scale and bias train?

Source: He et al. 2015, arXiv 1512.03385, Appendix A (batch norm fixed in detection,
"mainly for reducing memory consumption"); Wu and Johnson 2021, arXiv 2105.07576,
Section 3 (batches too small for statistics). From memory, not verified here.
Command: ./launch.sh ablate --ablation=frozen_batch_norm --scale=laptop

People say "frozen batch norm" of four things. `free`: statistics move, scale and bias
train; `fixed_statistics`: the statistics of the start normalize in training too;
`fixed_scale`: scale and bias stay; `frozen`: both stay, and the norm is a fixed affine
map. Stated beforehand: a net of MNIST trained on with 200 digits of scikit-learn, in
batches of 2 and of 32.
"""

from cnnjax.ablation.define import Ablation, Axis, Gate, Paper, Scale, lower, not_higher

HE = Paper("He et al. 2015, arXiv 1512.03385")
WU = Paper("Wu and Johnson 2021, arXiv 2105.07576")

DIGITS = {
    "data.name": "digits",
    "data.num_train": 200,
    "data.num_validation": 100,
    "data.num_test": 600,
    "train.epochs": 12.0,
    "starts_from": "source-32",
}
STAY = {"start.statistics": "stay"}
FIXED = {"start.norm_parameters": False}
NORM = Axis(
    "norm",
    {
        "source": {"data.name": "mnist", "train.epochs": 3.0, "data.num_test": 2000},
        "low": {
            "data.name": "digits",
            "data.num_test": 600,
            "data.classes": ("0", "1", "2", "3", "4"),
        },
        "free": DIGITS,
        "fixed_statistics": DIGITS | STAY,
        "fixed_scale": DIGITS | FIXED,
        "frozen": DIGITS | STAY | FIXED,
        "high": {
            "data.name": "digits",
            "data.num_test": 600,
            "data.classes": ("5", "6", "7", "8", "9"),
            "starts_from": "low-32",
        }
        | STAY
        | FIXED,
    },
    title="batch norm",
)
BATCH = Axis.over("batch", "train.batch_size", [2, 32], title="images a step")

POINT = {
    "matters": 2.0,
    "because": "2 points are 12 of the 600 test digits",
}
CLAIMS = [
    lower(
        "test_error",
        "fixed_statistics-2",
        than="free-2",
        source=WU.at("Section 3"),
        published="small batches; not verified here",
        name="small batches: statistics stay",
        headline=True,
        sentence="In batches of 2, keeping the statistics of the start lowers the "
        "test error.",
        **POINT,
    ),
    not_higher(
        "test_error",
        "frozen-32",
        than="free-32",
        tolerance=2.0,
        source=HE.at("Appendix A"),
        published="batch norm fixed in detection; not verified here",
        name="frozen does no harm",
    ),
    not_higher(
        "test_error",
        "fixed_scale-32",
        than="free-32",
        tolerance=2.0,
        source=HE.at("Appendix A"),
        published="scale and bias are constants; not verified here",
        name="scales may stay",
    ),
    not_higher(
        "test_error",
        "frozen-2",
        than="frozen-32",
        tolerance=2.0,
        source=HE.at("Appendix A"),
        published="a fixed affine map; not verified here",
        name="frozen forgets the batch",
    ),
    lower(
        "test_error",
        "free-32",
        than="free-2",
        source=WU.at("Section 3"),
        published="small batches; not verified here",
        name="free needs a batch",
        **POINT,
    ),
]

WAYS = ["free", "fixed_statistics", "fixed_scale", "frozen"]
GRIDS = [{"norm": ["source"], "batch": [32]}, {"norm": WAYS}]
COMMON = {
    "data.channels": 3,
    "augment.standardize": "channel",
    "start.rates": ("^(stem|stage)=0.1",),
    "schedule.learning_rate": 0.05,
    "checkpoint.every_epochs": 0.0,
    "eval.every_epochs": 0.0,
}
GATE = Gate(
    at_most=1.6,
    control="frozen-32",
    because="at 1.6 the right one of ten digits gets 20%, twice what guessing gives",
)

SCALES = {
    "smoke": Scale(
        recipe="resnet_digits",
        seeds=2,
        grids=[{"norm": ["low", "high"], "batch": [32]}],
        overrides={"model.depth": 8, "train.steps": 6},
        note="digits 5 to 9 after digits 0 to 4 of scikit-learn: shows that it runs",
    ),
    "laptop": Scale(
        recipe="resnet_few_cifar10",
        seeds=5,
        grids=GRIDS,
        overrides=COMMON
        | {
            "model.depth": 8,
            "data.image_size": 8,
            "data.num_train": 5000,
            "data.num_validation": 500,
        },
        note="digits of scikit-learn after 5,000 of MNIST, at 8x8; 8 layers; minutes "
        "on two cores",
        gate=GATE,
    ),
    "paper": Scale(
        recipe="resnet_cifar10",
        seeds=5,
        grids=GRIDS,
        overrides=COMMON
        | {
            "data.image_size": 32,
            "augment.crop_pad": 0,
            "augment.flip": False,
            "schedule.kind": "cosine",
            "schedule.unit": "fraction",
            "schedule.warmup": 0.1,
        },
        note="digits of scikit-learn after all of MNIST, at 32x32; ResNet-20; the "
        "sources have detection and ImageNet",
        gate=GATE,
    ),
}


def get_ablation() -> Ablation:
    """Four ways in which batch norm is frozen, at two sizes of the batch."""
    return Ablation(
        name="frozen_batch_norm",
        title="Frozen batch norm in transfer",
        question="Should batch norm be frozen when a net is trained on?",
        source=f"{HE.at('Appendix A')}; {WU.at('Section 3')}",
        axes=[NORM, BATCH],
        arm_name="{norm}-{batch}",
        x_axis="batch",
        series_axis="norm",
        metrics=["test_error", "train_loss", "train_error", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing among ten
        background="Statistics are measured on a batch, or remembered from the start.",
        limits="As many passes for each batch size, so 16 times the steps in batches "
        "of 2. The arm that others start from is trained on other images.",
    )
