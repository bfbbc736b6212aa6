"""Names of residual nets in torchvision and in three kinds of nets of timm.

timm has the nets of torchvision with the same names, and squeeze and excitation as
`se`. Its pre-activation nets (`resnetv2_*`) and its SE nets in the authors' Caffe form
(`legacy_se*`) have other names.
"""

from typing import Any

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.interop.convert import Named
from cnnjax.interop.names.paths import within_block
from cnnjax.models.resnet import STEMS, ResNet

_OUTSIDE = {"stem_conv": "conv1", "stem_norm": "bn1", "head": "fc"}
# A stem of three convolutions is one sequence in timm; only its last norm has a name.
_DEEP_STEM = {
    "stem_conv1": "conv1.0",
    "stem_norm1": "conv1.1",
    "stem_conv2": "conv1.3",
    "stem_norm2": "conv1.4",
    "stem_conv3": "conv1.6",
    "stem_norm3": "bn1",
}
_SHORTCUT = {"shortcut/conv": "downsample.0", "shortcut/norm": "downsample.1"}


def torchvision_name(model: nn.Module, path: str) -> str:
    """'stage1_block2/norm1' -> 'layer1.1.bn1'.

    Raises:
      UserError: torchvision has no such net, or one that computes another function.
    """
    if _is_preactivated(model) or model.squeeze_excite or len(STEMS[model.stem]) > 1:
        raise UserError(
            "torchvision has no residual nets with pre-activation, squeeze and "
            "excitation or a stem of several convolutions: choose source 'timm'"
        )
    _check_form(model, "torchvision", COMMON)
    return _common(path, {})


def timm_name(model: nn.Module, path: str) -> str | Named:
    """'stage1_block2/norm1' -> 'layer1.1.bn1', 'stages.0.blocks.1.norm1'.

    Raises:
      UserError: timm's net with these weights computes another function.
    """
    basic = getattr(model, "block", "basic") == "basic"
    if _is_preactivated(model):
        form = COMMON | {"placement": "pre", "share_first_activation": not basic}
        _check_form(model, "timm", form)
        if model.norm.kind == "group":
            raise UserError(
                "timm's pre-activation nets with group norm (BiT) standardise their "
                "weights, and this net does not: choose norm='batch'"
            )
        return _preactivated(path)
    if model.squeeze_excite and model.stem_pool == "ceil":
        _check_form(
            model,
            "timm",
            COMMON
            | {"stem_pool": "ceil", "stride_on_3x3": model.groups > 1}
            | {"placement": "act_around_add" if basic else "post"},
        )
        return _legacy(path)
    _check_form(model, "timm", COMMON)
    return _common(path, {"reduce_conv": "se.fc1", "expand_conv": "se.fc2"})


# Common to the nets of torchvision and timm; no weight shows these.
COMMON = {
    "placement": "post",
    "stride_on_3x3": True,
    "stem_pool": "padded",
    "shortcut": "B",
    "residual": True,
}


def _check_form(model: nn.Module, source: str, form: dict[str, Any]) -> None:
    """Refuses weights with the same names and shapes that would give other logits."""
    if getattr(model, "block", "basic") == "basic":
        form = form | {"stride_on_3x3": getattr(model, "stride_on_3x3", True)}
    for key, value in form.items():
        given = getattr(model, key, value)
        if given != value:
            raise UserError(
                f"{source}'s nets of this kind have config.model.{key}={value!r}, this "
                f"one has {given!r}, which the weights do not show: choose that value, "
                "or the entry without '_published' or 'plain'"
            )


def _is_preactivated(model: nn.Module) -> bool:
    return model.placement in ("pre", "act_only_pre")


def _common(path: str, squeeze_excite: dict[str, str]) -> str:
    outside = _OUTSIDE | _DEEP_STEM
    if path in outside:
        return outside[path]
    stage, block, inner = within_block(path)
    inner = _SHORTCUT.get(inner, inner).replace("norm", "bn")
    if inner.startswith("squeeze_excite/"):
        inner = squeeze_excite[inner.removeprefix("squeeze_excite/")]
    return f"layer{stage}.{block - 1}.{inner}"


def _legacy(path: str) -> str:
    if path == "head":
        return "last_linear"
    if path.startswith("stem_"):
        number = path[-1] if path[-1].isdigit() else "1"
        return f"layer0.{'conv' if 'conv' in path else 'bn'}{number}"
    names = {"reduce_conv": "se_module.fc1", "expand_conv": "se_module.fc2"}
    return _common(path, names)


def _preactivated(path: str) -> str | Named:
    outside = {"stem_conv": "stem.conv", "final_norm": "norm"}
    if path == "head":
        return Named("head.fc", as_conv=True)
    if path in outside:
        return outside[path]
    stage, block, inner = within_block(path)
    inner = inner.replace("shortcut/", "downsample.")
    return f"stages.{stage - 1}.blocks.{block - 1}.{inner}"


NAMES = {
    (ResNet, "torchvision"): torchvision_name,
    (ResNet, "timm"): timm_name,
}
