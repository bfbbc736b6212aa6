"""Squeeze and excitation: on, off, and by how much it reduces the channels.

Source: Hu et al. 2017, arXiv 1709.01507 (journal version), Section 6.1, Table 10.
Command: ./launch.sh ablate --ablation=squeeze_excite --scale=laptop

Stated beforehand: at laptop scale the residual net of 20 layers on few digits, whose
8 to 32 channels are reduced by 2 to 16.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Published, Scale

PAPER = "Hu et al. 2017, arXiv 1709.01507"
TABLE10, TEST = f"{PAPER}, Table 10", "test_error"
# fmt: off
# Reduction -> top-1 error of SE-ResNet-50 on ImageNet; 'off' is ResNet-50.
ERRORS = {"off": 23.30, "2": 22.29, "4": 22.25, "8": 22.26, "16": 22.28, "32": 22.72}
CLAIMS = (
    Claim("squeeze-excite", "With squeeze and excitation (reduction 16) the test error"
          " is lower.", TABLE10, TEST, {"off": 1, "16": -1},
          published="22.28 % against 23.30 %"),
    Claim("strong", "With squeeze and excitation (reduction 2) the test error is"
          " lower.", TABLE10, TEST, {"off": 1, "2": -1},
          published="22.29 % against 23.30 %"),
    Claim("reduction", "Reduction 16 is at most 0.5 points worse than 2.", TABLE10,
          TEST, {"2": 1, "16": -1}, -0.5, "22.28 % against 22.29 %"),
    Claim("optimisation", "With squeeze and excitation (reduction 16) the training loss"
          " is lower.", f"{PAPER}, Fig. 4", "train_loss", {"off": 1, "16": -1},
          published="lower training error throughout (curves)"),
)
# Section 6: smoothed labels, and a schedule of 270 epochs that gives the same errors
# (23.21 and 22.20 %) as the plateaus of Table 10.
RECIPE = {"train.epochs": 270.0, "schedule.boundaries": (125.0, 200.0, 250.0),
          "loss.label_smoothing": 0.1}
SCALES = {
    "smoke": Scale("resnet_digits", {"train.epochs": 1, "model.depth": 8},
                   {"reduction": ("off", "4")}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("resnet_few_digits", {},
                    {"reduction": ("off", "2", "4", "8", "16")}, 8,
                    "300 of the 8x8 digits (real), 1,297 to test; on two cores"),
    "paper": Scale("resnet_imagenet", RECIPE, {}, 3,
                   "ImageNet, 50 layers, 270 epochs; for accelerators", True),
}


def get_ablation() -> Ablation:
    """One net; each residual branch is weighed channel by channel, or not."""
    reductions = {label: {"model.squeeze_excite": True,
                          "model.se_reduction": int(label)}
                  for label in ERRORS if label != "off"}
    return Ablation(
        name="squeeze_excite", title="Squeeze and excitation",
        question="Does weighing channels by what the whole map shows lower the error?",
        source=f"{PAPER}, Section 6.1", arm_name="{reduction}",
        axes=(Axis("reduction", {"off": {"model.squeeze_excite": False}} | reductions,
                   "reduction of the channels"),),
        x_axis="reduction", series_axis=None,
        metrics=(TEST, "train_loss", "train_error", "validation_error"),
        claims=CLAIMS, scales=SCALES,
        published=[Published(label, TEST, error, TABLE10)
                   for label, error in ERRORS.items()],
        background="The weights cost few parameters and almost no products.",
        limits="Few easy digits: seeds differ by about a point, like the effect on"
        " ImageNet; all nets reach a training error of 0, so the loss is compared.")
