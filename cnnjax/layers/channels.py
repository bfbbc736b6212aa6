"""Channels: numbers per channel next to arrays of any rank, and rounded widths."""

import jax

from cnnjax.errors import UserError


def per_channel(values: jax.Array, x: jax.Array) -> jax.Array:
    """Gives [C] values the rank of x [..., C], as strict rank promotion demands."""
    return values.reshape((1,) * (x.ndim - 1) + values.shape)


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
