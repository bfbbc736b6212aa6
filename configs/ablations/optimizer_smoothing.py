"""RMSProp, label smoothing and batch norm in the auxiliary head of Inception.

Source: Szegedy et al. 2015, arXiv 1512.00567, Sections 4, 7 and 8, Table 3.
Command: ./launch.sh ablate --ablation=optimizer_smoothing --scale=laptop

The paper adds one change after the other; here all combinations are run. The numbers
are those of Section 8 (rate 0.045; RMSProp with decay 0.9 and epsilon 1.0; smoothing
0.1), also for SGD, whose rate the paper does not print. Stated beforehand: GoogLeNet of
four modules at an eighth of the width on few digits, the auxiliary head without dropout
as in Inception-v3.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Published, Scale
from configs.base import model_section

PAPER = "Szegedy et al. 2015, arXiv 1512.00567"
TABLE3, TEST = f"{PAPER}, Table 3", "test_error"
# fmt: off
OPTIMIZERS = {
    "sgd": {"optimizer.name": "sgd"},
    "rmsprop": {"optimizer.name": "rmsprop", "optimizer.b2": 0.9,
                "optimizer.epsilon": 1.0}}
TRICKS = {
    f"{smooth}{aux}": {"loss.label_smoothing": share, "model.auxiliary_norm": normed}
    for smooth, share in (("hard", 0.0), ("smooth", 0.1))
    for aux, normed in (("", "conv"), ("-aux", "all"))}
CLAIMS = (
    Claim("RMSProp", "RMSProp gives a lower test error than SGD.", TABLE3, TEST,
          {"sgd-hard": 1, "rmsprop-hard": -1}, published="23.1 % against 23.4 %"),
    Claim("smoothing", "Under RMSProp label smoothing lowers the test error.", TABLE3,
          TEST, {"rmsprop-hard": 1, "rmsprop-smooth": -1},
          published="22.8 % against 23.1 %"),
    Claim("smoothing, SGD", "Under SGD label smoothing lowers the test error.",
          f"{PAPER}, Section 7", TEST, {"sgd-hard": 1, "sgd-smooth": -1},
          published="about 0.2 points"),
    Claim("BN-auxiliary", "With both, batch norm behind the dense layer of the"
          " auxiliary head lowers the test error.", TABLE3, TEST,
          {"rmsprop-smooth": 1, "rmsprop-smooth-aux": -1},
          published="21.2 % against 21.6 %"),
    Claim("all three", "All three together give a lower test error than none.", TABLE3,
          TEST, {"sgd-hard": 1, "rmsprop-smooth-aux": -1},
          published="21.2 % against 23.4 %, with factorised 7x7 filters besides"),
)
SMALL = {"model": model_section("googlenet_cifar", width=0.125, num_blocks=(1, 2, 1),
                                auxiliary_dropout_rate=0.0),
         "schedule.learning_rate": 0.045, "norm.epsilon": 1e-3}
PAIR = {"tricks": ("hard",)}
SCALES = {
    "smoke": Scale("resnet_digits", SMALL | {"train.epochs": 1}, PAIR, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("resnet_few_digits", SMALL, {}, 6,
                    "300 of the 8x8 digits (real), 1,297 to test; on two cores"),
    "paper": Scale("inception_v3_imagenet", {}, {}, 3,
                   "ImageNet, Inception-v3, the recipe of the paper; GPUs", True),
}


def get_ablation() -> Ablation:
    """All combinations of optimizer, label smoothing and norm in the auxiliary head."""
    return Ablation(
        name="optimizer_smoothing",
        title="RMSProp, label smoothing, norm in the auxiliary head",
        question="What do the training tricks of Inception-v3 contribute?",
        source=f"{PAPER}, Table 3", arm_name="{optimizer}-{tricks}",
        axes=(Axis("optimizer", OPTIMIZERS), Axis("tricks", TRICKS)),
        x_axis="tricks", series_axis="optimizer",
        metrics=(TEST, "test_loss", "train_error", "validation_error"),
        claims=CLAIMS, scales=SCALES,
        published=[Published("rmsprop-smooth", TEST, 21.6, TABLE3),
                   Published("rmsprop-smooth-aux", TEST, 21.2, TABLE3)],
        background="The rows of Table 3 before the last two have 7x7 filters that are"
        " not factorised; Inception-v3 here always has factorised ones.",
        limits="Few easy digits and a small net: seeds differ by about a point, the"
        " published steps are 0.2 to 0.4 points. RMSProp at this epsilon is close to"
        " SGD wherever gradients are small.")
