"""Names of VGG in torchvision, in timm and in the public CIFAR-10 ports."""

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.interop.convert import Named
from cnnjax.interop.names.paths import matched
from cnnjax.models.vgg import GRID, VGG

# timm's dense layers are convolutions over the whole 7 x 7 map.
_TIMM: dict[str, str | Named] = {
    "fc6": Named("pre_logits.fc1", as_conv=True, window=GRID),
    "fc7": Named("pre_logits.fc2", as_conv=True),
    "head": "head.fc",
}


def _features(model: nn.Module, path: str) -> str:
    """'stage2_conv1' -> 'features.3': convolutions, norms and pools in order.

    Raises:
      UserError: the net has local response norm, whose layers would be numbered too.
    """
    if model.norm.kind == "local_response":
        raise UserError(
            "torchvision and timm have no VGG with local response normalization: "
            "choose 'vgg11', or another norm"
        )
    stage, kind, number = matched(r"stage(\d+)_(conv|norm)(\d+)", path)
    convolutions = sum(model.depths[: int(stage) - 1]) + int(number) - 1
    place = convolutions * (2 + model.norm.has_bias) + int(stage) - 1
    return f"features.{place + (kind == 'norm')}"


def torchvision_name(model: nn.Module, path: str) -> str:
    """'stage1_conv1' -> 'features.0', 'fc6' -> 'classifier.0'."""
    if path == "head" and model.head == "gap":
        return "classifier"
    if path == "head":
        return f"classifier.{3 * len(model.dense_widths)}"
    if path.startswith("fc"):  # groups of three layers: dense, activation, dropout
        return f"classifier.{3 * (int(path[2:]) - 6)}"
    return _features(model, path)


def cifar_name(model: nn.Module, path: str) -> str:
    """'stage1_conv1' -> 'features.0', 'head' -> 'classifier'.

    As in kuangliu/pytorch-cifar and bearpaw/pytorch-classification.

    Raises:
      UserError: a net with hidden dense layers, which differ between the ports.
    """
    if model.head != "gap":
        raise UserError(
            "VGG in the CIFAR-10 ports behind source 'cifar' has no hidden dense "
            "layers: choose an entry such as 'vgg16_bn_cifar'"
        )
    return torchvision_name(model, path)


def timm_name(model: nn.Module, path: str) -> str | Named:
    """'stage1_conv1' -> 'features.0', 'fc6' -> 'pre_logits.fc1'."""
    return _TIMM[path] if path in _TIMM else _features(model, path)


NAMES = {
    (VGG, "torchvision"): torchvision_name,
    (VGG, "timm"): timm_name,
    (VGG, "cifar"): cifar_name,
}
