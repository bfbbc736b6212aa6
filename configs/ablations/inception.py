"""Inception modules with and without reductions; auxiliary heads with and without norm.

Source: Szegedy et al. 2014, arXiv 1409.4842, Section 4, Fig. 2 (naive and reduced) and
Section 5 (heads); Szegedy et al. 2015, arXiv 1512.00567, Section 4 and Table 3 (heads
as regularisers, batch norm in the head).
Command: ./launch.sh ablate --ablation=inception --scale=laptop

Stated beforehand: 1, 2 and 1 modules a stage with a quarter of the channels, batch norm
in the trunk, one head behind the first module of the second stage with weight 0.3.
"""

from cnnjax.ablation.define import Ablation, Axis, Paper, Scale, lower, not_higher

GOOGLENET = Paper("Szegedy et al. 2014, arXiv 1409.4842")
RETHINKING = Paper("Szegedy et al. 2015, arXiv 1512.00567")

MODULE = Axis.over("module", "model.reduced", {"naive": False, "reduced": True})
HEADS = Axis(
    "heads",
    {
        "none": {"model.auxiliary_heads": False},
        "plain": {"model.auxiliary_heads": True, "model.auxiliary_norm": "none"},
        "norm": {"model.auxiliary_heads": True, "model.auxiliary_norm": "all"},
    },
    title="auxiliary heads",
)

CLAIMS = [
    not_higher(
        "test_error",
        "reduced-none",
        than="naive-none",
        tolerance=1.0,
        source=GOOGLENET.at("Section 4"),
        name="reductions are cheap",
        sentence="Reductions cost at most 1 point of test error.",
        published="no number; multiply-adds of nine modules: 1.6 G for 12.6 G (counted "
        "here)",
    ),
    lower(
        "step_milliseconds",
        "reduced-none",
        than="naive-none",
        source=GOOGLENET.at("Section 4"),
        name="reductions are fast",
        sentence="A step with reductions takes less time than one without.",
        published="the naive form blows up within a few stages, in words",
    ),
    lower(
        "test_error",
        "reduced-plain",
        than="reduced-none",
        source=GOOGLENET.at("Section 5"),
        name="heads help",
        sentence="An auxiliary head without norm lowers the test error.",
        published="ImageNet: a minor effect, around 0.5 %",
    ),
    lower(
        "generalization_gap",
        "reduced-plain",
        than="reduced-none",
        source=RETHINKING.at("Section 4"),
        name="heads regularise",
        sentence="An auxiliary head without norm makes the generalization gap smaller.",
        published="argued, in words",
    ),
    lower(
        "test_error",
        "reduced-norm",
        than="reduced-plain",
        source=RETHINKING.at("Table 3"),
        name="norm in the head",
        sentence="Batch norm in the auxiliary head lowers the test error.",
        published="Inception-v3 on ImageNet, one crop: 21.2 % against 21.6 %",
    ),
]

SCALES = {
    "smoke": Scale(
        recipe="googlenet_few_digits",
        seeds=2,
        grids=[
            {"module": ["naive"], "heads": ["none"]},
            {"module": ["reduced"], "heads": ["plain"]},
        ],
        overrides={
            "train.steps": 4,
            "model.width": 0.125,
            "model.num_blocks": (1, 1, 1),
        },
        note="8x8 digits of scikit-learn, 4 steps: shows that it runs",
    ),
    # One arm at a time, since the time of a step is compared.
    "laptop": Scale(
        recipe="googlenet_few_digits",
        seeds=5,
        grids=[{"module": ["naive"], "heads": ["none"]}, {"module": ["reduced"]}],
        overrides={"train.steps": 150},
        note="300 of the 8x8 digits (real), 1,297 to test; on two CPU cores",
        jobs=1,
    ),
    "paper": Scale(
        recipe="googlenet_imagenet",
        seeds=3,
        grids=[{"module": ["naive"], "heads": ["none"]}, {"module": ["reduced"]}],
        overrides={"norm.kind": "batch"},
        note="ImageNet, GoogLeNet with batch norm; for accelerators",
        jobs=1,
    ),
}


def get_ablation() -> Ablation:
    """Modules of Fig. 2(a) and 2(b), the latter with three choices of the heads."""
    return Ablation(
        name="inception",
        title="Inception modules and auxiliary heads",
        question="What do 1x1 reductions cost, and do auxiliary heads help?",
        source=f"{GOOGLENET}; {RETHINKING}",
        axes=[MODULE, HEADS],
        arm_name="{module}-{heads}",
        x_axis="heads",
        series_axis="module",
        metrics=[
            "test_error",
            "generalization_gap",
            "train_error",
            "step_milliseconds",
        ],
        claims=CLAIMS,
        scales=SCALES,
        failed_above=81.0,  # nine tenths of the error of guessing
        background="The pool of a naive module keeps all of its channels, so widths "
        "and cost grow from module to module. Heads were meant to bring gradients to "
        "the lower layers; they are dropped after training.",
        limits="A net of six layers does not need more gradient in its lower half, "
        "and few digits spread by about a point: effects of 0.5 points need the paper "
        "scale.",
    )
