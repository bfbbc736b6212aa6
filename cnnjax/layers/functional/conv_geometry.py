"""Geometry of a convolution: strides, padding, dilation, groups; size of its map."""

import dataclasses

from cnnjax.layers.functional.window import Pair, output_size


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The static part of a convolution."""

    strides: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int

    def output_size(
        self,
        x_shape,
        kernel_shape,
        layer: str = "convolution",
        *,
        exact: bool = False,
    ) -> Pair:
        """Height and width of the output, see `window.output_size`."""
        return output_size(
            x_shape[1:3],
            kernel_shape[:2],
            self.strides,
            self.padding,
            self.dilation,
            exact=exact,
            layer=layer,
        )
