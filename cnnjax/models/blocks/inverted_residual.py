"""The block of MobileNetV2 and V3: wide inside, narrow at both ends.

Source: Sandler et al. 2018, arXiv 1801.04381, section 3.3 and table 1; with squeeze and
excitation: Howard et al. 2019, arXiv 1905.02244, figure 4 and section 5.3.
"""

import functools
from collections.abc import Callable

from flax import linen as nn

from cnnjax.layers.act import identity
from cnnjax.layers.conv_norm_act import ConvNormAct
from cnnjax.layers.functional.channels import round_channels
from cnnjax.layers.norm import Norm
from cnnjax.layers.squeeze_excite import SqueezeExcite


class InvertedResidual(nn.Module):
    """1 x 1 to many channels, a depthwise convolution, 1 x 1 to few without activation.

    The input is added where the shape stays. Without anything to widen, the first 1 x 1
    is left out.

    Args:
      expanded: channels of the depthwise convolution.
      features: channels of the result.
      kernel_size: of the depthwise convolution, odd.
      stride: of the depthwise convolution.
      squeeze_excite: weigh the channels after the depthwise convolution, through a
        quarter of them, with a hard sigmoid.
      residual: False leaves the addition out.
      linear: False puts the activation after the last 1 x 1 too.
      conv: factory of convolutions.
      norm: normalization.
      act: activation function.
      squeeze_act: activation within the squeeze and excitation.

    Shapes: [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), features]; children
    `expand`, `depthwise`, `squeeze_excite`, `project`.
    """

    expanded: int
    features: int
    kernel_size: int
    stride: int
    squeeze_excite: bool
    residual: bool
    linear: bool
    conv: Callable
    norm: Norm
    act: Callable
    squeeze_act: Callable

    @nn.compact
    def __call__(self, x, *, train: bool):
        unit = functools.partial(ConvNormAct, conv=self.conv, norm=self.norm)
        y = x
        if self.expanded != x.shape[-1]:
            y = unit(self.expanded, 1, act=self.act, name="expand")(y, train=train)
        y = unit(
            self.expanded,
            self.kernel_size,
            self.stride,
            self.kernel_size // 2,
            groups=self.expanded,
            act=self.act,
            name="depthwise",
        )(y, train=train)
        if self.squeeze_excite:
            y = SqueezeExcite(
                round_channels(self.expanded // 4),
                self.conv,
                self.squeeze_act,
                gate="hard_sigmoid",
                name="squeeze_excite",
            )(y)
        last_act = identity if self.linear else self.act
        y = unit(self.features, 1, act=last_act, name="project")(y, train=train)
        return x + y if self.residual and x.shape == y.shape else y
