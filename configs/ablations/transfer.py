"""What to train of a net that was trained on other images, by data and similarity.

Source: the table of the lecture on transfer (Stanford CS231n, "CNNs in practice"; from
memory, not verified here), after Yosinski et al. 2014, arXiv 1411.1792, and Razavian
et al. 2014, arXiv 1403.6382:

              similar images              different images
  few         linear classifier on top    linear classifier on earlier stages
  many        train a few layers on       train more layers on

Command: ./launch.sh ablate --ablation=transfer --scale=laptop

Stated beforehand: the target is digits of scikit-learn, 50 or 1,000 of them; similar
are those of MNIST, different the objects of CIFAR-10. Then five classes of CIFAR-10
after the other five, or after MNIST. `probe1` to `probe3` train a head alone, behind
that many stages; `last1` the last stage too; `tune` all. What was trained before has a
tenth of the rate of the head, as the lecture advises. At scale paper the start is the
published ResNet-20 as well (akamaster/pytorch_resnet_cifar10, found in data_dir).
"""

from cnnjax.ablation.define import Ablation, Axis, Gate, Paper, Scale, lower, not_higher

LECTURE = Paper("Stanford CS231n 2016, lecture on CNNs in practice")
YOSINSKI = Paper("Yosinski et al. 2014, arXiv 1411.1792")

HALVES = (
    ("airplane", "automobile", "bird", "cat", "deer"),
    ("dog", "frog", "horse", "ship", "truck"),
)
DIGITS = {
    "data.name": "digits",
    "data.num_validation": 100,
    "data.num_test": 600,
    "train.steps": 200,
}
TASK = Axis(
    "task",
    {
        "few": DIGITS | {"data.num_train": 50},
        "many": DIGITS | {"data.num_train": 1000},
        "half": {
            "data.classes": HALVES[1],
            "data.num_train": 250,
            "data.num_test": 2000,
            "train.steps": 200,
        },
        # What others start from.
        "mnist": {"data.name": "mnist", "data.num_test": 2000, "train.epochs": 3.0},
        "cifar10": {"data.num_test": 2000, "train.epochs": 12.0},
        "other_half": {
            "data.classes": HALVES[0],
            "data.num_test": 2000,
            "train.epochs": 12.0,
        },
        "low": {"data.classes": ("0", "1", "2", "3", "4")},
        "high": {"data.classes": ("5", "6", "7", "8", "9")},
    },
    title="target",
)
PUBLISHED_NET = "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8"
START = Axis(
    "start",
    {
        "none": {},
        **{
            source: {"starts_from": f"{source}-none-all"}
            for source in ("mnist", "cifar10", "other_half", "low")
        },
        "published": {
            "start.weights": "resnet20-12fca82f.th",
            "start.source": "cifar",
            "start.digest": PUBLISHED_NET,
            "start.drawn": ("head",),
        },
    },
    title="start",
)
TRAINS = Axis(
    "trains",
    {
        "all": {},
        "probe1": {
            "start.trains": "head",
            "model.widths": (16,),
            "model.depth": 8,
        },
        "probe2": {
            "start.trains": "head",
            "model.widths": (16, 32),
            "model.depth": 14,
        },
        "probe3": {"start.trains": "head"},
        "last1": {"start.trains": "last_stages=1", "start.rates": ("^stage3=0.1",)},
        "tune": {"start.rates": ("^(stem|stage)=0.1",)},
    },
    title="what trains",
)

POINT = {
    "matters": 2.0,
    "because": "2 points are 12 of the 600 test digits, less than two seeds of one arm "
    "with 50 images to train on differ by",
}
TABLE = {"source": LECTURE, "published": "advice in words; not verified here"}
CLAIMS = [
    lower(
        "test_error",
        "few-mnist-probe3",
        than="few-none-all",
        name="few, similar: a linear classifier",
        headline=True,
        sentence="With 50 digits, a linear classifier on features of MNIST beats a "
        "net trained from scratch.",
        **TABLE,
        **POINT,
    ),
    not_higher(
        "test_error",
        "few-mnist-probe3",
        than="few-mnist-tune",
        tolerance=2.0,
        name="few, similar: no need to train more",
        **TABLE,
    ),
    lower(
        "test_error",
        "few-cifar10-probe1",
        than="few-cifar10-probe3",
        name="few, different: earlier stages",
        sentence="With 50 digits, a linear classifier behind the first stage of a net "
        "of CIFAR-10 beats one behind the last.",
        **TABLE,
        **POINT,
    ),
    lower(
        "test_error",
        "many-mnist-last1",
        than="many-mnist-probe3",
        name="many, similar: train a few layers on",
        **TABLE,
        **POINT,
    ),
    lower(
        "test_error",
        "many-cifar10-tune",
        than="many-cifar10-last1",
        name="many, different: train more layers on",
        **TABLE,
        **POINT,
    ),
    not_higher(
        "test_error",
        "many-none-all",
        than="many-cifar10-tune",
        tolerance=2.0,
        name="many, different: scratch does as well",
        source=YOSINSKI.at("Section 4"),
        published="transferred features generalise better; not verified here",
    ),
    lower(
        "test_error",
        "few-mnist-probe3",
        than="few-cifar10-probe3",
        name="similarity counts",
        source=YOSINSKI.at("Section 4.2"),
        published="transfer falls with the distance of tasks; not verified here",
        **POINT,
    ),
    lower(
        "test_error",
        "half-other_half-tune",
        than="half-none-all",
        name="halves of CIFAR-10",
        source=YOSINSKI.at("Section 3"),
        published="halves of the classes of ImageNet; not verified here",
        matters=2.0,
        because="2 points are 40 of the 2,000 test images",
    ),
    lower(
        "test_error",
        "few-published-probe3",
        than="few-none-all",
        name="few, published net",
        headline=True,
        **TABLE,
        **POINT,
    ),
]

COMMON = {
    "data.channels": 3,
    "augment.standardize": "channel",
    "checkpoint.every_epochs": 0.0,
    "eval.every_epochs": 0.0,
    "log.every_epochs": 1000.0,
}
SOURCES = [{"task": ["mnist", "cifar10", "other_half"], "start": ["none"]}]
GATE = Gate(
    at_most=1.6,
    control="few-mnist-tune",
    because="at 1.6 the right one of ten digits gets 20%, twice what guessing gives: a "
    "head behind one stage is not to fit its images, only to have learnt from them",
)

SCALES = {
    "smoke": Scale(
        recipe="resnet_digits",
        seeds=2,
        grids=[
            {"task": ["low"], "start": ["none"], "trains": ["all"]},
            {"task": ["high"], "start": ["none"], "trains": ["all"]},
            {"task": ["high"], "start": ["low"], "trains": ["probe1", "tune"]},
        ],
        overrides={"model.widths": (16, 32, 64), "model.depth": 20, "train.steps": 6},
        note="digits 5 to 9 after digits 0 to 4 of scikit-learn: shows that it runs",
    ),
    "laptop": Scale(
        recipe="resnet_few_cifar10",
        seeds=5,
        grids=[
            *({**grid, "trains": ["all"]} for grid in SOURCES),
            {"task": ["few", "many", "half"], "start": ["none"], "trains": ["all"]},
            {
                "task": ["few"],
                "start": ["mnist", "cifar10"],
                "trains": ["probe1", "probe2", "probe3", "last1", "tune"],
            },
            {
                "task": ["many"],
                "start": ["mnist", "cifar10"],
                "trains": ["probe1", "probe3", "last1", "tune"],
            },
            {
                "task": ["half"],
                "start": ["other_half", "mnist"],
                "trains": ["probe3", "tune"],
            },
        ],
        overrides=COMMON
        | {
            "data.image_size": 8,
            "data.num_train": 5000,
            "data.num_validation": 500,
            "train.batch_size": 50,
        },
        note="digits of scikit-learn, and 5,000 images of MNIST and CIFAR-10, all at "
        "8x8 in colour; ResNet-20; on two cores",
        gate=GATE,
    ),
    "paper": Scale(
        recipe="resnet_cifar10",
        seeds=5,
        grids=[
            *({**grid, "trains": ["all"]} for grid in SOURCES),
            {"task": ["few", "many", "half"], "start": ["none"], "trains": ["all"]},
            {
                "task": ["few", "many"],
                "start": ["mnist", "cifar10"],
                "trains": ["probe1", "probe2", "probe3", "last1", "tune"],
            },
            {
                "task": ["few", "many"],
                "start": ["published"],
                "trains": ["probe3", "last1", "tune"],
            },
            {
                "task": ["half"],
                "start": ["other_half", "mnist"],
                "trains": ["probe1", "probe2", "probe3", "last1", "tune"],
            },
        ],
        overrides=COMMON
        | {
            "data.image_size": 32,
            "augment.crop_pad": 0,
            "augment.flip": False,
            "schedule.kind": "cosine",
            "schedule.unit": "fraction",
            "schedule.warmup": 0.1,
            "train.batch_size": 50,
        },
        note="all images of MNIST and CIFAR-10 at 32x32, and the published ResNet-20; "
        "for accelerators",
        claims=tuple(
            claim.name
            for claim in CLAIMS
            if claim.name != "few, similar: a linear classifier"
        ),
        gate=GATE,
    ),
}


def get_ablation() -> Ablation:
    """What to train of a net that comes from other images."""
    return Ablation(
        name="transfer",
        title="Transfer: linear probe, last stage, or all",
        question="Which part of a net trained on other images should be trained on?",
        source=f"{LECTURE}; {YOSINSKI}",
        axes=[TASK, START, TRAINS],
        arm_name="{task}-{start}-{trains}",
        x_axis="trains",
        series_axis="start",
        metrics=["test_error", "train_loss", "train_error", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing among ten
        background="A net keeps in its first stages what many images share.",
        limits="Small nets and images: digits are easy, and a net of 5,000 images of "
        "CIFAR-10 has seen few objects. The arms that others start from are trained on "
        "other images, so their errors are no part of a comparison.",
    )
