"""Names of DenseNet in torchvision and timm, which agree."""

import functools
import re

from flax import linen as nn

from cnnjax.interop.names.paths import matched
from cnnjax.models.densenet import DenseNet

_OUTSIDE = {
    "stem_conv": "features.conv0",
    "stem_norm": "features.norm0",
    "final_norm": "features.norm5",
    "head": "classifier",
}


def densenet_name(model: nn.Module, path: str) -> str:
    """'stage1_layer2/norm1' -> 'features.denseblock1.denselayer2.norm1'."""
    if path in _OUTSIDE:
        return _OUTSIDE[path]
    if deep := re.fullmatch(r"stem_(conv|norm)(\d)", path):
        kind, number = deep.groups()
        return f"features.{kind}{int(number) - 1}"
    if between := re.fullmatch(r"(transition\d+)/(.*)", path):
        return "features.{}.{}".format(*between.groups())
    names = matched(r"stage(\d+)_layer(\d+)/(.*)", path)
    return "features.denseblock{}.denselayer{}.{}".format(*names)


NAMES = {
    (DenseNet, "torchvision"): densenet_name,
    (DenseNet, "timm"): densenet_name,
}

# Published files of torchvision have 'denselayer1.norm.1.weight' where its net has
# 'denselayer1.norm1.weight'.
_OLD = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")

_renamed = functools.partial(_OLD.sub, r"\1\2")
RENAMED = {(DenseNet, "torchvision"): _renamed, (DenseNet, "timm"): _renamed}
