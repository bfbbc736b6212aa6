"""Names in the public CIFAR-10 ResNet ports in PyTorch (option-A shortcuts)."""

from flax import linen as nn

from cnnjax.interop.resnet import within_block
from cnnjax.models.cifar_resnet import CifarResNet

_OUTSIDE = {
    "stem_conv": "conv1",
    "stem_norm": "bn1",
    "final_norm": "bn",  # of pre-activation nets alone
    "head": "linear",
}


def cifar_name(model: nn.Module, path: str) -> str:
    """'stage1_block2/norm1' -> 'layer1.1.bn1'."""
    if path in _OUTSIDE:
        return _OUTSIDE[path]
    stage, block, inner = within_block(path)
    inner = {"shortcut/conv": "shortcut.0", "shortcut/norm": "shortcut.1"}.get(
        inner, inner.replace("norm", "bn")
    )
    return f"layer{stage}.{block}.{inner}"


NAMES = {(CifarResNet, "cifar"): cifar_name}
