"""Error on shifted digits: an MLP and CNNs with and without pooling, trained unshifted.

Source: Goodfellow et al. 2016, "Deep Learning", Section 9.3 (max pooling makes a net
invariant to small translations); Kauderer-Abrams 2017, arXiv 1801.01450 (pooling has
only a secondary effect, shifted training images the largest).
Command: ./launch.sh ablate --ablation=translation --scale=laptop

The probe 'shift' moves test images by up to a quarter of their side in four directions;
`shifted_error` is the mean over all moves. Stated beforehand: two stages that end in
max, average or strided pooling or keep the size; a rate of 0.02 and batches of 64, with
which the CNN with max pooling and a dense head fits 2,000 digits; shifts of up to 7
pixels in training for the '-moved' arms, as far as the probe goes.
"""

from cnnjax.ablation.define import Ablation, Axis, Paper, Scale, lower
from configs.base import model_section

BOOK = Paper("Goodfellow et al. 2016")
KAUDERER = Paper("Kauderer-Abrams 2017, arXiv 1801.01450")
LECUN = Paper("LeCun et al. 1998")
LIN = Paper("Lin et al. 2013, arXiv 1312.4400")


def cnn(pool: str, head: str) -> dict:
    """Two stages of 8 and 16 channels, their pooling, and a head."""
    net = model_section("convnet_mnist", pool=pool, head=head, widths=(8, 16))
    return {"model": net}


NET = Axis(
    "net",
    {
        "mlp": {"model": model_section("mlp")},
        "none-dense": cnn("none", "dense"),
        "stride-dense": cnn("stride", "dense"),
        "avg-dense": cnn("avg", "dense"),
        "max-dense": cnn("max", "dense"),
        "none-gap": cnn("none", "gap"),
        "max-gap": cnn("max", "gap"),
    },
    title="net (pooling-head)",
)
# An empty label adds nothing to the name of an arm: "mlp", "mlp-moved".
MOVED = Axis.over("moved", "augment.crop_pad", {"": 0, "-moved": 7})

CLAIMS = [
    lower(
        "shifted_error",
        "max-dense",
        than="mlp",
        source=LECUN.at("Section II.A"),
        name="convolutions help",
        published="invariance built in, in words",
    ),
    lower(
        "shifted_error",
        "max-dense",
        than="none-dense",
        source=BOOK.at("Section 9.3"),
        name="max pooling helps",
        sentence="Under a dense head, max pooling lowers the error on shifted digits.",
        published="invariance to small translations, in words",
    ),
    lower(
        "shifted_error",
        "max-dense",
        than="stride-dense",
        source=BOOK.at("Section 9.3"),
        name="max, not stride",
        sentence="Max pooling has a lower error on shifted digits than strided "
        "convolutions.",
        published="in words",
    ),
    lower(
        "shifted_error",
        "none-gap",
        than="none-dense",
        source=LIN.at("Section 3.2"),
        name="average of all places",
        sentence="Without pooling, a global average in place of the dense head lowers "
        "the error on shifted digits.",
        published="more robust to spatial translations, in words",
    ),
    lower(
        "shifted_error",
        "none-dense-moved",
        than="max-dense",
        source=KAUDERER,
        name="data, not pooling",
        sentence="Training on shifted digits helps a CNN without pooling more than max "
        "pooling does.",
        published="the most important factor; pooling secondary (maps)",
    ),
]

PROBE = {
    "eval.probes": ("shift",),
    "schedule.learning_rate": 0.02,
    "train.batch_size": 64,
}
GRIDS = [
    {"moved": [""]},
    {"net": ["mlp", "none-dense", "max-dense"], "moved": ["-moved"]},
]
SCALES = {
    "smoke": Scale(
        recipe="convnet_digits",
        seeds=2,
        grids=[{"net": ["mlp", "max-dense"], "moved": [""]}],
        overrides=PROBE | {"train.epochs": 1},
        note="8x8 digits of scikit-learn, one epoch: shows that it runs",
    ),
    "laptop": Scale(
        recipe="convnet_mnist",
        seeds=5,
        grids=GRIDS,
        overrides=PROBE
        | {
            "data.num_train": 2000,
            "data.num_validation": 1000,
            "data.num_test": 2000,
            "train.epochs": 8,
            "eval.every_epochs": 2,
        },
        note="2,000 digits of MNIST; minutes on two CPU cores",
    ),
    "paper": Scale(
        recipe="convnet_mnist",
        seeds=5,
        grids=GRIDS,
        overrides=PROBE,
        note="all of MNIST, 20 epochs",
    ),
}


def get_ablation() -> Ablation:
    """An MLP and six CNNs, some of them also trained on shifted images."""
    return Ablation(
        name="translation",
        title="Invariance to translation",
        question="What makes a net recognise digits at positions it never saw?",
        source=f"{BOOK.at('Section 9.3')}; {KAUDERER}",
        axes=[NET, MOVED],
        arm_name="{net}{moved}",
        x_axis="net",
        series_axis="moved",
        metrics=["shifted_error", "test_error", "train_error", "validation_error"],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="Convolutions are equivariant: maps shift with the image. "
        "Invariance needs pooling, over a few pixels or over all.",
        limits="Digits on a black background that hardly leave the frame. A net with "
        "more pooling sees more of the image and has fewer weights in a dense head: "
        "both change together.",
    )
