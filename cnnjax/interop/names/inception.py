"""Names of Inception-v3 in torchvision and timm, of v4 and Inception-ResNet in timm.

Inception-v3 has an auxiliary head in torchvision, and by default none in timm, whose
weights load with `auxiliary_heads=False`. Published weights need images scaled to
[-1, 1] (except `gluon_in1k` of timm); torchvision builds the net for them with
`transform_input=True`, which no weight shows.
"""

import re

from flax import linen as nn

from cnnjax.interop.names import googlenet
from cnnjax.interop.names.paths import matched, within_block
from cnnjax.models.blocks.inception import Branch, Pool
from cnnjax.models.googlenet import GoogLeNet
from cnnjax.models.inception_resnet import BLOCKS, REDUCTIONS, STEMS, InceptionResNet
from cnnjax.models.inception_v3 import InceptionV3
from cnnjax.models.inception_v4 import STEM_MODULES, InceptionV4, modules

_PARTS = {"conv": "conv", "norm": "bn"}

# -- Inception-v3 ----------------------------------------------------------------------

_V3_OUTSIDE = {
    "stem_conv1": "Conv2d_1a_3x3",
    "stem_conv2": "Conv2d_2a_3x3",
    "stem_conv3": "Conv2d_2b_3x3",
    "stem_conv4": "Conv2d_3b_1x1",
    "stem_conv5": "Conv2d_4a_3x3",
    "auxiliary/conv1": "AuxLogits.conv0",
    "auxiliary/conv2": "AuxLogits.conv1",
    "auxiliary/head": "AuxLogits.fc",
    "head": "fc",
}
# Branches are named after their filters; a name without number has one convolution.
_V3_BRANCHES = {
    "stage1_block": ("branch1x1", "branch5x5_", "branch3x3dbl_", "branch_pool"),
    "stage2_reduction": ("branch3x3", "branch3x3dbl_"),
    "stage2_block": ("branch1x1", "branch7x7_", "branch7x7dbl_", "branch_pool"),
    "stage3_reduction": ("branch3x3_", "branch7x7x3_"),
    "stage3_block": ("branch1x1", "branch3x3_", "branch3x3dbl_", "branch_pool"),
}


def v3_name(model: nn.Module, path: str) -> str:
    """'stage2_block1/branch2_conv3/norm' -> 'Mixed_6b.branch7x7_3.bn'."""
    if path in _V3_OUTSIDE:
        return _V3_OUTSIDE[path]
    unit, _, part = path.rpartition("/")
    if unit in _V3_OUTSIDE:
        return f"{_V3_OUTSIDE[unit]}.{_PARTS[part]}"
    module, child = unit.split("/")
    kind, number = matched(r"(stage\d_\D+)(\d*)", module)
    # Letters start at 5b, 6a and 7a: in 6 and 7 the reduction comes first.
    mixed = f"Mixed_{int(kind[5]) + 4}{'abcdef'[int(number or 0)]}"
    branch, conv = matched(r"branch(\d)_conv(\w+)", child)
    name = _V3_BRANCHES[kind][int(branch) - 1]
    return f"{mixed}.{name}{conv if name.endswith('_') else ''}.{_PARTS[part]}"


# -- Inception-v4 and Inception-ResNet in timm -----------------------------------------


def _in_sequence(branches: tuple[Branch, ...], child: str) -> str:
    """'branch4_conv1' -> 'branch3.1' where a pool comes first; 'branch0' if alone."""
    branch, conv = map(int, matched(r"branch(\d)_conv(\d)", child))
    steps = branches[branch - 1]
    if len(steps) == 1:
        return f"branch{branch - 1}"
    places = [i for i, step in enumerate(steps) if not isinstance(step, Pool)]
    return f"branch{branch - 1}.{places[conv - 1]}"


def _spreading(child: str) -> str:
    """In the last modules of Inception-v4: 'branch2_conv2a' -> 'branch1_1a'."""
    branch, conv, letter = matched(r"branch(\d)_conv(\d)(\w?)", child)
    return f"branch{int(branch) - 1}_{int(conv) - 1}{letter}"


def v4_name(model: nn.Module, path: str) -> str:
    """'stage1_block1/branch2_conv2/norm' -> 'features.6.branch1.1.bn'."""
    if path == "head":
        return "last_linear"
    unit, _, part = path.rpartition("/")
    stem = re.fullmatch(r"stem_conv(\d)", unit)
    if stem:
        return f"features.{int(stem[1]) - 1}.{_PARTS[part]}"
    module, child = unit.split("/")
    tables = {f"stem_block{i}": m for i, m in enumerate(STEM_MODULES, start=1)}
    tables |= modules(model.num_blocks)
    place = 3 + list(tables).index(module)  # three convolutions come first
    if module in ("stem_block1", "stem_block3"):
        child = "conv"  # the only one, next to a pool
    elif module.startswith("stage3_block") and child[:7] in ("branch2", "branch3"):
        child = _spreading(child)
    else:
        child = _in_sequence(tables[module], child)
    return f"features.{place}.{child}.{_PARTS[part]}"


_RESNET_OUTSIDE = {
    "stem_conv1": "conv2d_1a",
    "stem_conv2": "conv2d_2a",
    "stem_conv3": "conv2d_2b",
    "stem_conv4": "conv2d_3b",
    "stem_conv5": "conv2d_4a",
    "final": "conv2d_7b",
}
_RESNET_STAGES = ("repeat", "repeat_1", "repeat_2")


def inception_resnet_name(model: nn.Module, path: str) -> str:
    """'stage1_block2/branches/branch2_conv1/norm' -> 'repeat.1.branch1.0.bn'."""
    if path == "head":
        return "classif"
    unit, _, part = path.rpartition("/")
    if unit in _RESNET_OUTSIDE:
        return f"{_RESNET_OUTSIDE[unit]}.{_PARTS[part]}"
    module, child = path.split("/", 1)
    if module == "stem_block1":
        name, table = "mixed_5b", STEMS[model.stem][1][0]
    elif module.endswith("reduction"):
        stage = int(module[5])
        name, table = f"mixed_{stage + 4}a", REDUCTIONS[model.widths][stage - 1] or ()
    else:
        stage, block, _ = within_block(path)
        table = BLOCKS[model.widths][stage - 1]
        name = f"{_RESNET_STAGES[stage - 1]}.{block - 1}"
        if (stage, block) == (3, model.num_blocks[2]):
            name = "block8"
    if child == "expand_conv":
        return f"{name}.conv2d"
    child = child.removeprefix("branches/").removesuffix(f"/{part}")
    return f"{name}.{_in_sequence(table, child)}.{_PARTS[part]}"


NAMES = {
    (InceptionV3, "torchvision"): v3_name,
    (InceptionV3, "timm"): v3_name,
    (InceptionV4, "timm"): v4_name,
    (InceptionResNet, "timm"): inception_resnet_name,
}
PREPARED = {
    (InceptionV3, "torchvision"): googlenet.PREPARED[GoogLeNet, "torchvision"],
}
