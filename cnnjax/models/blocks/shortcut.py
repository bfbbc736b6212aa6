"""The path beside the residual branch.

Source: He et al. 2015, arXiv 1512.03385, section 4.1 (options A, B, C); He et al. 2016,
arXiv 1603.05027, figure 2 (the others).
"""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.layers.dropout import Dropout
from cnnjax.layers.norm import Norm

# He et al. 2015 options A, B, C; He et al. 2016 figure 2 (b) to (f) on top of A.
SHORTCUTS = (
    "A",
    "B",
    "C",
    "none",
    "scaled",
    "exclusive_gate",
    "shortcut_gate",
    "dropout",
)


class Shortcut(nn.Module):
    """What a block adds to its residual branch.

    Args:
      kind: an element of `SHORTCUTS`; 'A' subsamples and pads with zero channels, 'B'
        projects where the shape changes, 'C' projects everywhere, 'scaled' halves A,
        'dropout' drops A's values, the gates weigh A by 1 - g.
      features: channels of the block's output.
      stride: stride of the block.
      kernel_size: of a projection that strides; the others are 1 x 1.
      conv: factory of convolutions.
      norm: normalization after a projection, None for none.
      dropout_rate: for kind 'dropout'.

    Raises:
      UserError: a shortcut without projection to fewer channels, or a projection of
        even size.

    Shapes: [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), features].
    """

    kind: str
    features: int
    stride: int
    kernel_size: int
    conv: Callable
    norm: Norm | None
    dropout_rate: float

    @nn.compact
    def __call__(self, x, gate, *, train: bool):
        if projects(self.kind, self.stride, x.shape[-1], self.features):
            return self.project(x, train)
        if self.features < x.shape[-1]:
            raise UserError(
                f"shortcut {self.kind!r} pads with zero channels and cannot go from "
                f"{x.shape[-1]} to {self.features}: take 'B' or 'C' "
                "(config.model.shortcut), or widths that do not shrink "
                "(config.model.widths)"
            )
        x = x[:, :: self.stride, :: self.stride, :]
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.features - x.shape[-1])))
        if self.kind == "scaled":
            return 0.5 * x
        if self.kind == "dropout":
            return Dropout(self.dropout_rate)(x, train=train)
        if self.kind in ("exclusive_gate", "shortcut_gate"):
            return (1 - gate) * x
        return x

    def project(self, x, train: bool):
        if self.kernel_size % 2 == 0:
            raise UserError(
                f"config.model.projection_size is {self.kernel_size} but must be odd: "
                "the shortcut would not fit its branch"
            )
        size = self.kernel_size if self.stride != 1 else 1
        x = self.conv(
            self.features, size, strides=self.stride, padding=size // 2, name="conv"
        )(x)
        return x if self.norm is None else self.norm(name="norm")(x, train=train)


def projects(kind: str, stride: int, channels: int, features: int) -> bool:
    """Whether a shortcut of this kind is a convolution here."""
    changes = stride != 1 or channels != features
    return kind == "C" or (kind == "B" and changes)
