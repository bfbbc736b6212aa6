"""Inception modules with and without reductions; auxiliary heads with and without norm.

Source: Szegedy et al. 2014, arXiv 1409.4842, Section 4, Fig. 2 (naive and reduced) and
Section 5 (heads); Szegedy et al. 2015, arXiv 1512.00567, Section 4 and Table 3 (heads
as regularisers, batch norm in the head).
Command: ./launch.sh ablate --ablation=inception --scale=laptop

Stated beforehand: 1, 2 and 1 modules a stage with a quarter of the channels, batch norm
in the trunk, one head behind the first module of the second stage with weight 0.3.
"""

from cnnjax.ablation.define.spec import Ablation, Axis, Claim, Scale

GOOGLENET = "Szegedy et al. 2014, arXiv 1409.4842"
RETHINKING = "Szegedy et al. 2015, arXiv 1512.00567"
TEST, GAP = "test_error", "generalization_gap"
# fmt: off
HEADS = {"none": {"model.auxiliary_heads": False}} | {
    name: {"model.auxiliary_heads": True, "model.auxiliary_norm": norm}
    for name, norm in (("plain", "none"), ("norm", "all"))}
CLAIMS = (
    Claim("reductions are cheap", "Reductions cost at most 1 point of test error.",
          f"{GOOGLENET}, Section 4", TEST, {"naive-none": 1, "reduced-none": -1}, -1.0,
          "no number; multiply-adds of nine modules: 1.6 G for 12.6 G (counted here)"),
    Claim("reductions are fast", "A step with reductions takes less time.",
          f"{GOOGLENET}, Section 4", "step_milliseconds",
          {"naive-none": 1, "reduced-none": -1},
          published="the naive form blows up within a few stages, in words"),
    Claim("heads help", "An auxiliary head without norm lowers the test error.",
          f"{GOOGLENET}, Section 5", TEST, {"reduced-none": 1, "reduced-plain": -1},
          published="ImageNet: a minor effect, around 0.5 %"),
    Claim("heads regularise", "An auxiliary head without norm makes the gap between"
          " test and training error smaller.", f"{RETHINKING}, Section 4", GAP,
          {"reduced-none": 1, "reduced-plain": -1}, published="argued, in words"),
    Claim("norm in the head", "Batch norm in the auxiliary head lowers the test error.",
          f"{RETHINKING}, Table 3", TEST, {"reduced-plain": 1, "reduced-norm": -1},
          published="21.2 % against 21.6 %"),
)
NAIVE = {"module": ("naive",), "heads": ("none",)}
SCALES = {
    "smoke": Scale("googlenet_few_digits", {"train.steps": 4, "model.width": 0.125,
                                           "model.num_blocks": (1, 1, 1)}, NAIVE, 2,
                   "8x8 digits of scikit-learn, 4 steps: shows that it runs",
                   also=({"module": ("reduced",), "heads": ("plain",)},)),
    "laptop": Scale("googlenet_few_digits", {"train.steps": 150}, NAIVE, 5,
                    "300 of the 8x8 digits (real), 1,297 to test; on two CPU cores",
                    also=({"module": ("reduced",)},), jobs=1),
    "paper": Scale("googlenet_imagenet", {"norm.kind": "batch"}, NAIVE, 3,
                   "ImageNet, GoogLeNet with batch norm; for accelerators",
                   also=({"module": ("reduced",)},), jobs=1),
}


def get_ablation() -> Ablation:
    """Modules of Fig. 2(a) and 2(b), the latter with three choices of the heads."""
    return Ablation(
        name="inception", title="Inception modules and auxiliary heads",
        question="What do 1x1 reductions cost, and do auxiliary heads help?",
        source=f"{GOOGLENET}; {RETHINKING}", arm_name="{module}-{heads}",
        axes=(Axis("module", {"naive": {"model.reduced": False},
                              "reduced": {"model.reduced": True}}),
              Axis("heads", HEADS, "auxiliary heads")),
        x_axis="heads", series_axis="module",
        metrics=(TEST, GAP, "train_error", "step_milliseconds"),
        claims=CLAIMS, scales=SCALES,
        background="The pool of a naive module hands all of its channels on, so widths"
        " and cost grow from module to module. Heads were meant to bring gradients to"
        " the lower layers; they are dropped after training.",
        limits="A net of six layers has no need of more gradient in its lower half, and"
        " few digits spread by about a point: effects of 0.5 points need the paper"
        " scale.")
