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

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Scale
from configs.base import model_section

BOOK = "Goodfellow et al. 2016, Section 9.3"
PAPER = "Kauderer-Abrams 2017, arXiv 1801.01450"
SHIFTED, TEST = "shifted_error", "test_error"
# fmt: off
NETS = {"mlp": {"model": model_section("mlp")}} | {
    f"{pool}-{head}": {"model": model_section("convnet_mnist", pool=pool, head=head,
                                              widths=(8, 16))}
    for pool, head in (("none", "dense"), ("stride", "dense"), ("avg", "dense"),
                       ("max", "dense"), ("none", "gap"), ("max", "gap"))}
MOVED = {"": {"augment.crop_pad": 0}, "-moved": {"augment.crop_pad": 7}}
CLAIMS = (
    Claim("convolutions help", "A CNN with max pooling has a lower error on shifted"
          " digits than an MLP.", "LeCun et al. 1998, Section II.A", SHIFTED,
          {"mlp": 1, "max-dense": -1}, published="invariance built in, in words"),
    Claim("max pooling helps", "Under a dense head, max pooling lowers the error on"
          " shifted digits.", BOOK, SHIFTED, {"none-dense": 1, "max-dense": -1},
          published="invariance to small translations, in words"),
    Claim("max, not stride", "Max pooling has a lower error on shifted digits than"
          " strided convolutions.", BOOK, SHIFTED, {"stride-dense": 1, "max-dense": -1},
          published="in words"),
    Claim("average of all places", "Without pooling, a global average in place of the"
          " dense head lowers the error on shifted digits.", "Lin et al. 2013, arXiv"
          " 1312.4400, Section 3.2", SHIFTED, {"none-dense": 1, "none-gap": -1},
          published="more robust to spatial translations, in words"),
    Claim("data, not pooling", "Training on shifted digits helps a CNN without pooling"
          " more than max pooling does.", PAPER, SHIFTED,
          {"max-dense": 1, "none-dense-moved": -1},
          published="the most important factor; pooling secondary (maps)"),
)
PROBE = {"eval.probes": ("shift",), "schedule.learning_rate": 0.02,
         "train.batch_size": 64}
ALL = {"net": tuple(NETS), "moved": ("",)}
MOVING = {"net": ("mlp", "none-dense", "max-dense"), "moved": ("-moved",)}
SCALES = {
    "smoke": Scale("convnet_digits", PROBE | {"train.epochs": 1},
                   {"net": ("mlp", "max-dense"), "moved": ("",)}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("convnet_mnist", PROBE | {
        "data.num_train": 2000, "data.num_validation": 1000, "data.num_test": 2000,
        "train.epochs": 8, "eval.every_epochs": 2}, ALL, 5,
        "2,000 digits of MNIST; minutes on two CPU cores", also=(MOVING,)),
    "paper": Scale("convnet_mnist", PROBE, ALL, 5, "all of MNIST, 20 epochs",
                   also=(MOVING,)),
}


def get_ablation() -> Ablation:
    """An MLP and six CNNs, some of them also trained on shifted images."""
    return Ablation(
        name="translation", title="Invariance to translation",
        question="What makes a net recognise digits in places where it saw none?",
        source=f"{BOOK}; {PAPER}", arm_name="{net}{moved}",
        axes=(Axis("net", NETS, "net (pooling-head)"), Axis("moved", MOVED)),
        x_axis="net", series_axis="moved",
        metrics=(SHIFTED, TEST, "train_error", "validation_error"),
        claims=CLAIMS, scales=SCALES,
        background="Convolutions shift their maps with the image; only what forgets the"
        " place can be invariant: pooling over a few pixels, or the average over all.",
        limits="Digits on a black background that hardly leave the frame. A net with"
        " more pooling sees more of the image and has fewer weights in a dense head:"
        " both change together.")
