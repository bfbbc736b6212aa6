"""Batch norm at test time: running, precise or batch statistics, and the momentum.

Source: Ioffe & Szegedy 2015, arXiv 1502.03167, Section 3.1; Wu & Johnson 2021, arXiv
2105.07576, Sections 3 and 4.
Command: ./launch.sh ablate --ablation=bn_train_test --scale=laptop

The training of all arms with the same images per statistic is the same: they differ in
the statistics of the final evaluation only. Stated beforehand: 14 layers on digits; the
momentum keeps 0.9, 0.99 or 0.999 of the running statistics in each of the 304 steps;
statistics over 64 images, the whole batch, or 4; batches of 100 or of 4 at test time.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Scale

IOFFE, WU = (
    "Ioffe & Szegedy 2015, arXiv 1502.03167",
    "Wu & Johnson 2021, arXiv 2105.07576",
)
TEST = "test_error"
# fmt: off
CLAIMS = (
    Claim("lag", "Running statistics that keep 0.999 a step give a higher test error"
          " than precise ones after so few steps.", f"{WU}, Section 3", TEST,
          {"running-0.999-64": 1, "precise-64": -1},
          published="the order only: early in training the average lags"),
    Claim("converged", "With momentum 0.9 running statistics are at most 0.5 points"
          " worse than precise ones at the end.", f"{WU}, Section 3", TEST,
          {"precise-64": 1, "running-0.9-64": -1}, -0.5,
          "no difference at the end of training"),
    Claim("large batch", "Statistics of 100 test images are at most 1 point worse than"
          " precise ones.", f"{IOFFE}, Section 3.1", TEST,
          {"precise-64": 1, "batch100-64": -1}, -1.0, "not printed"),
    Claim("small batch", "Statistics of 4 test images give a higher test error than"
          " precise ones.", f"{IOFFE}, Section 3.1", TEST,
          {"batch4-64": 1, "precise-64": -1}, published="the reason for the average"),
    Claim("inconsistent", "Trained on statistics of 4 images, the net does better with"
          " those of 4 test images than with precise ones.", f"{WU}, Section 4", TEST,
          {"precise-4": 1, "batch4-4": -1},
          published="the order only, for batches of 2 and 4 on ImageNet"),
    Claim("precise, small", "Trained on statistics of 4 images, precise statistics are"
          " at most 0.5 points worse than running ones.", f"{WU}, Section 3", TEST,
          {"running-0.9-4": 1, "precise-4": -1}, -0.5, "not worse"),
)
STATISTICS = {f"running-{m}": {"eval.statistics": "running", "norm.momentum": m}
              for m in (0.9, 0.99, 0.999)} | {
    "precise": {"eval.statistics": "precise"},
    "batch100": {"eval.statistics": "batch", "eval.batch_size": 100},
    "batch4": {"eval.statistics": "batch", "eval.batch_size": 4}}
IMAGES = {str(n): {"norm.examples_per_statistic": n} for n in (64, 4)}
FEW = {"statistics": ("running-0.9", "precise", "batch4"), "images": ("4",)}
SCALES = {
    "smoke": Scale("resnet_digits", {"train.epochs": 1, "model.depth": 8},
                   {"statistics": ("running-0.9", "precise"), "images": ("64",)}, 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs"),
    "laptop": Scale("resnet_digits", {"model.depth": 14}, {"images": ("64",)}, 8,
                    "8x8 digits of scikit-learn (real); minutes on two CPU cores",
                    also=(FEW,)),
    # So many steps that no average lags at the end.
    "paper": Scale("resnet_imagenet", {},
                   {"statistics": ("running-0.9", "running-0.99", "precise",
                                   "batch100", "batch4"), "images": ("64",)}, 3,
                   "ImageNet, 256 images a step; the source has 1,024 and up",
                   also=(FEW,)),
}


def get_ablation() -> Ablation:
    """One training per number of images per statistic, evaluated in several ways."""
    return Ablation(
        name="bn_train_test", title="Batch norm at test time",
        question="Which statistics should batch norm use at test time?",
        source=f"{IOFFE}; {WU}", arm_name="{statistics}-{images}",
        axes=(Axis("statistics", STATISTICS, "statistics at test time"),
              Axis("images", IMAGES, "images per statistic in training")),
        x_axis="statistics", series_axis="images",
        metrics=(TEST, "train_error", "test_loss"), claims=CLAIMS, scales=SCALES,
        background="In training each image is normalised together with its batch; at"
        " test time it should not matter what else is in the batch.",
        limits="Validation during training, and the weights that it chooses, always go"
        " by running statistics. Test batches are mixed as the test set is: a batch of"
        " one class would do far worse.")
