"""Residual nets whose 3 x 3 convolutions are grouped.

Source: Xie et al. 2016, arXiv 1611.05431, table 1 and figure 3 (c). The net is that of
`resnet` with `groups` (the cardinality) and `base_width` (channels a group in the
first stage): `resnext50_32x4d` has 32 groups of 4.

Deviations: none known; as in the paper's code, bottlenecks stride in their 3 x 3.
"""

from cnnjax.models.resnet import IMAGE, TIMM, TORCHVISION, ResNet, layout
from cnnjax.models.variant import OF_TORCHVISION, Published, Variant

PAPER = "Xie et al. 2016, arXiv 1611.05431, tables 3 and 4, one crop"
# (depth, groups, base width) -> parameters, multiply-adds, where counted, result.
NETS = {
    (50, 32, 4): (25_028_904, 4_230_479_872, TORCHVISION, (22.2, None, PAPER)),
    (101, 32, 4): (44_177_704, 7_969_996_800, TIMM, (21.2, None, PAPER)),
    (101, 32, 8): (
        88_791_336,
        16_414_015_488,
        TORCHVISION,
        (20.69, 5.47, OF_TORCHVISION),
    ),
    (101, 64, 4): (83_455_272, 15_460_270_080, TORCHVISION, (20.4, None, PAPER)),
}

VARIANTS = {
    f"resnext{depth}_{groups}x{base_width}d": Variant(
        ResNet,
        IMAGE,
        num_params,
        multiply_adds,
        source,
        layout(depth) | {"groups": groups, "base_width": base_width},
        published=Published(*result),
    )
    for (depth, groups, base_width), (
        num_params,
        multiply_adds,
        source,
        result,
    ) in NETS.items()
}
