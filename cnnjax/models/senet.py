"""Residual nets with squeeze and excitation.

Source: Hu et al. 2017, arXiv 1709.01507: figure 3, table 1, section 6 (SENet-154). The
net is that of `resnet` with `squeeze_excite`.

Deviations: the bare names are the form of timm's `seresnet*`: SE-ResNets stride in
their 3x3, and the first pool is padded by 1. `<name>_published` follows the authors'
Caffe files: SE-ResNets stride in the first 1x1, the pool has no padding and rounds up,
SENet-154 has dropout in front of the head. The paper has no nets of 18 and 34 layers:
their `_legacy` entries are those of a public port, which activates in front of squeeze
and excitation, too. The bare ones round the squeezed channels to multiples of 8.
"""

from typing import Any

from cnnjax.models.resnet import BASIC, IMAGE, TIMM, ResNet, layout
from cnnjax.models.variant import Published, Variant

COMMON = {"squeeze_excite": True, "se_divisor": 8}
CAFFE = {"squeeze_excite": True, "stem_pool": "ceil"}
NEXT = {"groups": 32, "base_width": 4}
# Section 6: 64 groups, half of the channels in the first 1x1, a stem of three 3x3,
# strided projections of 3x3.
SENET154 = {
    "groups": 64,
    "base_width": 4,
    "narrow_first": True,
    "stem": "three_3x3",
    "projection_size": 3,
}
PAPER = "Hu et al. 2017, arXiv 1709.01507, "
TABLE = PAPER + "table 2, one crop"
# Depth -> parameters and multiply-adds of the common form, multiply-adds as published.
RESNETS = {
    50: (28_088_024, 4_091_699_200, 3_860_488_192),
    101: (49_326_872, 7_806_148_608, 7_574_937_600),
    152: (66_821_848, 11_520_204_800, 11_288_993_792),
}
RESNEXTS = {
    50: (27_559_896, 4_232_994_816),
    101: (48_955_416, 7_974_739_968),
}
# Depth -> counts of the common form, with rounded channels, and of the legacy form.
SHALLOW = {
    18: ((11_779_624, 1_814_161_408), (11_778_592, 1_814_160_384)),
    34: ((21_960_416, 3_663_920_128), (21_958_868, 3_663_918_592)),
}
ERRORS = {
    "se_resnet50": (23.29, 6.62),
    "se_resnet101": (22.38, 6.07),
    "se_resnet152": (21.57, 5.73),
    "se_resnext50_32x4d": (21.10, 5.49),
    "se_resnext101_32x4d": (20.70, 5.01),
}


def _variant(
    depth: int,
    counts: tuple[int, int],
    arguments: dict[str, Any],
    alias: str | None = None,
    published: Published | None = None,
) -> Variant:
    return Variant(
        ResNet,
        IMAGE,
        *counts,
        TIMM,
        layout(depth) | arguments,
        aliases=() if alias is None else (alias,),
        published=published,
    )


def _shallow() -> dict[str, Variant]:
    nets = {}
    port = CAFFE | {"placement": "act_around_add"}
    for depth in BASIC:
        counts, port_counts = SHALLOW[depth]
        name, alias = f"se_resnet{depth}", f"seresnet{depth}"
        nets[name] = _variant(depth, counts, COMMON, alias)
        nets[f"{name}_legacy"] = _variant(depth, port_counts, port, f"legacy_{alias}")
    return nets


def _deep() -> dict[str, Variant]:
    nets = {}
    for depth, (params, common, caffe) in RESNETS.items():
        name, alias = f"se_resnet{depth}", f"seresnet{depth}"
        nets[name] = _variant(depth, (params, common), COMMON, alias)
        nets[f"{name}_published"] = _variant(
            depth,
            (params, caffe),
            CAFFE | {"stride_on_3x3": False},
            f"legacy_{alias}",
            Published(*ERRORS[name], TABLE),
        )
    for depth, counts in RESNEXTS.items():
        name, alias = f"se_resnext{depth}_32x4d", f"seresnext{depth}_32x4d"
        nets[name] = _variant(depth, counts, COMMON | NEXT, alias)
        nets[f"{name}_published"] = _variant(
            depth,
            counts,
            CAFFE | NEXT,
            f"legacy_{alias}",
            Published(*ERRORS[name], TABLE),
        )
    return nets


def _largest() -> dict[str, Variant]:
    counts = (115_088_984, 20_688_363_520)
    return {
        "senet154": _variant(152, counts, COMMON | SENET154),
        "senet154_published": _variant(
            152,
            counts,
            CAFFE | SENET154 | {"dropout_rate": 0.2},
            "legacy_senet154",
            Published(18.68, 4.47, PAPER + "one crop of 224 pixels"),
        ),
    }


VARIANTS = _shallow() | _deep() | _largest()
