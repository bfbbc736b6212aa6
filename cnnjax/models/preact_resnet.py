"""Residual nets with full pre-activation, for ImageNet and for small images.

Source: He et al. 2016, arXiv 1603.05027: figure 4 (e), section 5 and appendix; the
authors' Torch code for the details of the projections. The nets are those of `resnet`
and `cifar_resnet` with placement 'pre': norm and activation in front of every
convolution, a closing norm and activation in front of the pool, projections without a
norm that start after the activation.

Deviations: the ImageNet nets are the form of timm: bottlenecks stride in their 3x3,
and the norm and activation of the first block follow the max-pool (an own one sits in
front of it in the Torch code of Facebook); at 18 and 34 layers the first shortcut is
the plain identity. In the CIFAR nets, as in the paper's appendix and code, the first
shortcut starts after the first activation and bottlenecks stride in their first 1x1.
The paper's 10.2M parameters of ResNet-1001 are its convolutions and head; with the
norms it has 10.3M.
"""

from cnnjax.models.cifar_resnet import CifarResNet
from cnnjax.models.resnet import BASIC, IMAGE, TIMM, ResNet, layout
from cnnjax.models.variant import Published, Variant

PAPER = "He et al. 2016, arXiv 1603.05027, "
# Depth -> parameters and multiply-adds.
IMAGENET = {
    18: (11_687_720, 1_814_073_344),
    34: (21_795_880, 3_663_761_408),
    50: (25_549_352, 4_089_184_256),
    101: (44_541_480, 7_801_405_440),
    152: (60_185_128, 11_513_626_624),
    200: (64_666_152, 15_007_481_856),
}
CIFAR = {
    110: (1_727_962, 252_887_680),
    164: (1_703_258, 244_500_992),
    1001: (10_327_706, 1_487_849_984),
}
IMAGENET_ERRORS = {152: 21.1, 200: 20.7}
CIFAR_ERRORS = {110: 6.37, 164: 5.46, 1001: 4.92}


def _imagenet(depth: int, counts: tuple[int, int]) -> Variant:
    published = None
    if depth in IMAGENET_ERRORS:
        source = PAPER + "table 5, one crop of 320 pixels"
        published = Published(IMAGENET_ERRORS[depth], None, source)
    return Variant(
        ResNet,
        IMAGE,
        *counts,
        "by hand, layer by layer" if depth == 200 else TIMM,
        layout(depth)
        | {"placement": "pre", "share_first_activation": depth not in BASIC},
        # The names of timm, which has no net of 200 layers.
        aliases=() if depth == 200 else (f"resnetv2_{depth}",),
        published=published,
    )


def _cifar(depth: int, counts: tuple[int, int]) -> Variant:
    basic = depth == 110
    return Variant(
        CifarResNet,
        (32, 32, 3),
        *counts,
        "by hand, layer by layer; " + PAPER + "table 4, rounded",
        {
            "depth": depth,
            "placement": "pre",
            "block": "basic" if basic else "bottleneck",
            "shortcut": "A" if basic else "B",
        },
        num_classes=10,
        published=Published(
            CIFAR_ERRORS[depth], None, PAPER + "tables 2 and 4", "CIFAR-10"
        ),
    )


VARIANTS = {
    f"preact_resnet{depth}": _imagenet(depth, counts)
    for depth, counts in IMAGENET.items()
} | {
    f"preact_resnet{depth}_cifar": _cifar(depth, counts)
    for depth, counts in CIFAR.items()
}
