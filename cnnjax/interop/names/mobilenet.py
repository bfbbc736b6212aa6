"""Names of MobileNet V1, V2 and V3 in torchvision (V2, V3) and timm."""

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.interop.convert import Named
from cnnjax.interop.names.paths import within_block
from cnnjax.models import mobilenet_v2, mobilenet_v3
from cnnjax.models.mobilenet_v1 import MobileNetV1
from cnnjax.models.mobilenet_v2 import MobileNetV2
from cnnjax.models.mobilenet_v3 import MobileNetV3

# Only this block has expansion factor 1 and no convolution for it.
WITHOUT_EXPANSION = (1, 1)


def mobilenet_v1_timm(model: nn.Module, path: str) -> str:
    """'stage2_block1/pointwise/norm' -> 'blocks.1.0.bn2'."""
    if not model.separable:
        raise UserError(
            "timm has no MobileNet with full convolutions: keep "
            "config.model.separable=True"
        )
    outside = {"stem/conv": "conv_stem", "stem/norm": "bn1", "head": "classifier"}
    if path in outside:
        return outside[path]
    stage, block, inner = within_block(path)
    inner = {
        "depthwise/conv": "conv_dw",
        "depthwise/norm": "bn1",
        "pointwise/conv": "conv_pw",
        "pointwise/norm": "bn2",
    }[inner]
    return f"blocks.{stage - 1}.{block - 1}.{inner}"


def _inverted_in_timm(path: str) -> str:
    """'stage2_block1/depthwise/norm' -> 'blocks.1.0.bn2'."""
    stage, block, inner = within_block(path)
    units = ["expand", "depthwise", "project"]
    convs = ["conv_pw", "conv_dw", "conv_pwl"]
    if (stage, block) == WITHOUT_EXPANSION:
        units, convs = ["depthwise", "project"], ["conv_dw", "conv_pw"]
    unit, part = inner.split("/")
    if unit == "squeeze_excite":
        inner = f"se.conv_{part.removesuffix('_conv')}"
    else:
        number = units.index(unit)
        inner = convs[number] if part == "conv" else f"bn{number + 1}"
    return f"blocks.{stage - 1}.{block - 1}.{inner}"


def mobilenet_v2_timm(model: nn.Module, path: str) -> str:
    outside = {
        "stem/conv": "conv_stem",
        "stem/norm": "bn1",
        "last/conv": "conv_head",
        "last/norm": "bn2",
        "head": "classifier",
    }
    return outside.get(path) or _inverted_in_timm(path)


def mobilenet_v3_timm(model: nn.Module, path: str) -> str | Named:
    _check_epsilon(model, 1e-5, "timm", f"mobilenetv3_{model.size}_100")
    last = len(mobilenet_v3.SIZES[model.size][0])
    outside: dict[str, str | Named] = {
        "stem/conv": "conv_stem",
        "stem/norm": "bn1",
        "last/conv": f"blocks.{last}.0.conv",
        "last/norm": f"blocks.{last}.0.bn1",
        "hidden": Named("conv_head", as_conv=True),
        "head": "classifier",
    }
    return outside.get(path) or _inverted_in_timm(path)


def mobilenet_v2_torchvision(model: nn.Module, path: str) -> str:
    """'stage2_block1/project/norm' -> 'features.2.conv.3'."""
    if path == "head":
        return "classifier.1"
    counts = [count for _, _, count, _ in mobilenet_v2.STAGES]
    if outside := _around_the_blocks(path, sum(counts)):
        return outside
    stage, block, inner = within_block(path)
    units = ["expand", "depthwise", "project"]
    if (stage, block) == WITHOUT_EXPANSION:
        units.remove("expand")
    unit, part = inner.split("/")
    number, place = units.index(unit), int(part == "norm")
    # The last convolution and norm are not wrapped in a unit of their own.
    inner = f"{number + place}" if unit == "project" else f"{number}.{place}"
    return f"features.{sum(counts[: stage - 1]) + block}.conv.{inner}"


def mobilenet_v3_torchvision(model: nn.Module, path: str) -> str:
    """'stage3_block1/squeeze_excite/reduce_conv' -> 'features.4.block.2.fc1'."""
    _check_epsilon(model, 1e-3, "torchvision", f"mobilenet_v3_{model.size}")
    if path in ("hidden", "head"):
        return {"hidden": "classifier.0", "head": "classifier.3"}[path]
    stages, _ = mobilenet_v3.SIZES[model.size]
    counts = [len(blocks) for blocks in stages]
    if outside := _around_the_blocks(path, sum(counts)):
        return outside
    stage, block, inner = within_block(path)
    units = ["expand", "depthwise", "squeeze_excite", "project"]
    if (stage, block) == WITHOUT_EXPANSION:
        units.remove("expand")
    _, _, _, squeeze, _, _ = stages[stage - 1][block - 1]
    if not (squeeze and model.squeeze_excite):
        units.remove("squeeze_excite")
    unit, part = inner.split("/")
    part = {"conv": "0", "norm": "1", "reduce_conv": "fc1", "expand_conv": "fc2"}[part]
    number = sum(counts[: stage - 1]) + block
    return f"features.{number}.block.{units.index(unit)}.{part}"


def _around_the_blocks(path: str, num_blocks: int) -> str | None:
    """torchvision numbers the stem, all blocks and the last convolution in order."""
    return {
        "stem/conv": "features.0.0",
        "stem/norm": "features.0.1",
        "last/conv": f"features.{num_blocks + 1}.0",
        "last/norm": f"features.{num_blocks + 1}.1",
    }.get(path)


def _check_epsilon(model: nn.Module, epsilon: float, source: str, entry: str) -> None:
    """Refuses weights of the same shapes that would give other logits."""
    if model.norm.kind == "batch" and model.norm.epsilon != epsilon:
        raise UserError(
            f"the norms of {source}'s MobileNetV3 have epsilon {epsilon}, those of "
            f"this net {model.norm.epsilon}: use the entry {entry!r}"
        )


NAMES = {
    (MobileNetV1, "timm"): mobilenet_v1_timm,
    (MobileNetV2, "torchvision"): mobilenet_v2_torchvision,
    (MobileNetV2, "timm"): mobilenet_v2_timm,
    (MobileNetV3, "torchvision"): mobilenet_v3_torchvision,
    (MobileNetV3, "timm"): mobilenet_v3_timm,
}
