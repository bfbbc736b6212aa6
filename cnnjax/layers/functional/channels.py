"""Channels: numbers per channel next to arrays of any rank, and rounded widths."""

import jax

from cnnjax.errors import UserError

# The largest size of an axis that every part of XLA can count.
MOST_FEATURES = 2**31 - 1


def per_channel(values: jax.Array, x: jax.Array) -> jax.Array:
    """Gives [C] values the rank of x [..., C], as strict rank promotion demands."""
    return values.reshape((1,) * (x.ndim - 1) + values.shape)


def check_features(features: int, layer: str) -> None:
    """Refuses a layer without outputs, or with more than an array can have.

    Raises:
      UserError: names the layer.
    """
    if not 1 <= features <= MOST_FEATURES:
        raise UserError(
            f"{layer} would have {features} outputs, and a layer has 1 to "
            f"{MOST_FEATURES:,}: change the widths, or what they are multiplied or "
            "divided by (config.model)"
        )


def round_channels(channels: float, divisor: int = 8) -> int:
    """A width as a whole multiple of `divisor`, at least one of it.

    The nearest multiple, or the one above where that would lose more than a tenth, as
    the authors of MobileNet round theirs; torchvision and timm do the same.

    Raises:
      UserError: nothing would be left.
    """
    if not channels > 0:
        raise UserError(
            f"a layer of {channels} channels: the width must be positive (set "
            "config.model.width)"
        )
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
