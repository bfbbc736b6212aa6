"""Basic against bottleneck blocks at equal multiply-adds.

Source: He et al. 2015, arXiv 1512.03385, Section 4.1, "Deeper Bottleneck
Architectures", Table 3; He et al. 2016, arXiv 1603.05027, Table 2.
Command: ./launch.sh ablate --ablation=bottleneck --scale=laptop

With the same widths and the same number n of blocks a stage, basic (6n + 2 layers) and
bottleneck nets (9n + 2) cost about the same. Shortcuts as published: A and B.
Stated beforehand: n = 1, 3, 6 on few digits.
"""

from cnnjax.ablation.define.old import Ablation, Axis, Claim, Published, Scale

HE15, HE16 = "He et al. 2015, arXiv 1512.03385", "He et al. 2016, arXiv 1603.05027"
TRAIN, TEST = "train_error", "test_error"
# fmt: off
BLOCKS = {"basic": {"model.block": "basic", "model.shortcut": "A"},
          "bottleneck": {"model.block": "bottleneck", "model.shortcut": "B"}}
CLAIMS = (
    Claim("bottleneck", "At the cost of basic-110, bottleneck-164 has a lower test"
          " error.", f"{HE16}, Table 2", TEST, {"basic-110": 1, "bottleneck-164": -1},
          published="5.93 % against 6.61 %"),
    Claim("bottleneck, shallow", "At the cost of basic-20, bottleneck-29 has a lower"
          " test error.", f"{HE15}, Table 3", TEST,
          {"basic-20": 1, "bottleneck-29": -1},
          published="ImageNet, other depths: 22.85 % (50 layers, 3.8 G multiply-adds)"
          " against 25.03 % (34 layers, 3.6 G)"),
    Claim("bottleneck, deep", "At the cost of basic-38, bottleneck-56 has a lower test"
          " error.", f"{HE15}, Table 3", TEST, {"basic-38": 1, "bottleneck-56": -1},
          published="as above"),
    Claim("optimisation", "Though half as deep again, bottleneck-56 is at most 0.5"
          " points worse in training error than basic-38.", f"{HE15}, Section 4.1",
          TRAIN, {"basic-38": 1, "bottleneck-56": -1}, -0.5, "no degradation observed"),
)
# Section 4.2 of He et al. 2015: low rate for about 400 steps at such depths.
WARMUP = {"schedule.warmup": 400.0, "schedule.warmup_kind": "constant",
          "schedule.warmup_learning_rate": 0.01}


def grids(*pairs: tuple[int, int]) -> list[dict]:
    """Pairs of depths of equal cost, as a grid per kind of block."""
    return [{"block": (block,), "depth": tuple(str(pair[i]) for pair in pairs)}
            for i, block in enumerate(BLOCKS)]


SMOKE, LAPTOP, PAPER = grids((8, 11)), grids((8, 11), (20, 29), (38, 56)), grids(
    (20, 29), (56, 83), (110, 164))
SCALES = {
    "smoke": Scale("resnet_digits", {"train.epochs": 1}, SMOKE[0], 2,
                   "8x8 digits of scikit-learn, one epoch: shows that it runs",
                   also=SMOKE[1:]),
    "laptop": Scale("resnet_few_digits", {}, LAPTOP[0], 8,
                    "300 of the 8x8 digits (real), 1,297 to test; minutes on two cores",
                    also=LAPTOP[1:]),
    "paper": Scale("resnet_cifar10", WARMUP, PAPER[0], 5,
                   "CIFAR-10, the recipe of the paper; for accelerators", True,
                   also=PAPER[1:]),
}


def get_ablation() -> Ablation:
    """Two kinds of blocks, each over its depths."""
    depths = sorted({int(d) for s in SCALES.values() for g in s.grids
                     for d in g["depth"]})
    return Ablation(
        name="bottleneck", title="Basic against bottleneck blocks",
        question="Are bottleneck blocks better than basic ones of the same cost?",
        source=f"{HE15}, Section 4.1; {HE16}, Table 2", arm_name="{block}-{depth}",
        axes=(Axis("block", BLOCKS),
              Axis.over("depth", "model.depth", depths, "depth (weight layers)")),
        x_axis="depth", series_axis="block",
        metrics=(TEST, TRAIN, "validation_error", "generalization_gap"),
        claims=CLAIMS, scales=SCALES,
        published=[Published("basic-20", TEST, 8.75, f"{HE15}, Table 6"),
                   Published("basic-56", TEST, 6.97, f"{HE15}, Table 6"),
                   Published("basic-110", TEST, 6.61, f"{HE16}, Table 2"),
                   Published("bottleneck-164", TEST, 5.93, f"{HE16}, Table 2")],
        background="A bottleneck spends its products on depth and on four times the"
        " channels, which the head sees, rather than on wide 3x3 convolutions.",
        limits="Few easy digits: seeds differ by about a point, more than the published"
        " 0.7; the paper scale is where this can be decided.")
