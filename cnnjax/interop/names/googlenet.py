"""Names of GoogLeNet's layers in torchvision (timm has no GoogLeNet).

The weights that torchvision publishes need images scaled to [-1, 1]: it builds the net
for them with `transform_input=True`, which no weight shows.
"""

from flax import linen as nn

from cnnjax.interop.names.paths import matched
from cnnjax.models.googlenet import GoogLeNet

_OUTSIDE = {
    "stem_conv1": "conv1",
    "stem_conv2": "conv2",
    "stem_conv3": "conv3",
    "auxiliary_shallow/conv": "aux1.conv",
    "auxiliary_shallow/dense": "aux1.fc1",
    "auxiliary_shallow/head": "aux1.fc2",
    "auxiliary_deep/conv": "aux2.conv",
    "auxiliary_deep/dense": "aux2.fc1",
    "auxiliary_deep/head": "aux2.fc2",
    "head": "fc",
}


def torchvision_name(model: nn.Module, path: str) -> str:
    """'stage1_block2/branch3_conv2/norm' -> 'inception3b.branch3.1.bn'."""
    if path in _OUTSIDE:
        return _OUTSIDE[path]
    unit, _, part = path.rpartition("/")
    part = {"conv": "conv", "norm": "bn"}[part]
    if unit in _OUTSIDE:
        return f"{_OUTSIDE[unit]}.{part}"
    numbers = matched(r"stage(\d)_block(\d)/branch(\d)_conv(\d)", unit)
    stage, block, branch, conv = map(int, numbers)
    name = f"inception{stage + 2}{'abcde'[block - 1]}.branch{branch}"
    if branch > 1:  # a sequence; in branch 4 it starts with the pool
        name += f".{conv if branch == 4 else conv - 1}"
    return f"{name}.{part}"


NAMES = {(GoogLeNet, "torchvision"): torchvision_name}
PREPARED = {
    (GoogLeNet, "torchvision"): (
        "the weights published by torchvision need images scaled to [-1, 1] "
        "(transform_input=True) in place of its usual mean and standard deviation"
    )
}
