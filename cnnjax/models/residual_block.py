"""The block grammar of residual nets: where the norm and activation sit, what the
shortcut does, basic or bottleneck. Every choice is an independent argument.

Source: He et al. 2015, arXiv 1512.03385 (blocks, options A, B, C: section 4.1); He et
al. 2016, arXiv 1603.05027 (placements: figure 4; shortcuts: figure 2).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import unknown_name
from cnnjax.layers.init import Initializer, ones, zeros
from cnnjax.layers.norm import Norm
from cnnjax.layers.regularize import Dropout

# He et al. 2016, figure 4 (a) to (e): the order of the parts around each convolution,
# and what follows the addition. In `branch`, "c" stands for a convolution.
PLACEMENTS = {
    "post": ("cna", "a"),
    "norm_after_add": ("cna", "na"),
    "act_before_add": ("cna", ""),
    "act_only_pre": ("acn", ""),
    "pre": ("nac", ""),
}
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


def parts_of(placement: str, num_convs: int) -> tuple[list[str], str]:
    """Parts of the residual branch in order, and the parts after the addition.

    Args:
      placement: a key of `PLACEMENTS`.
      num_convs: 2 for basic, 3 for bottleneck blocks.

    Returns:
      The branch as one string per convolution, of the letters c, n, a; and the tail.
    """
    if placement not in PLACEMENTS:
        raise unknown_name("placement", placement, PLACEMENTS, "config.model.placement")
    unit, tail = PLACEMENTS[placement]
    branch = [unit] * num_convs
    if placement == "post":
        branch[-1] = "cn"  # the last activation comes after the addition
    elif placement == "norm_after_add":
        branch[-1] = "c"
    return branch, tail


class Shortcut(nn.Module):
    """The path beside the residual branch.

    Args:
      kind: an element of `SHORTCUTS`; 'A' subsamples and pads with zero channels, 'B'
        projects where the shape changes, 'C' projects everywhere, 'scaled' halves A,
        'dropout' drops A's values, the gates weigh A by 1 - g.
      features: channels of the block's output.
      stride: stride of the block.
      conv: factory of convolutions.
      norm: normalization after a projection.
      dropout_rate: for kind 'dropout'.

    Shapes: [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), features].
    """

    kind: str
    features: int
    stride: int
    conv: Callable
    norm: Norm
    dropout_rate: float

    @nn.compact
    def __call__(self, x, gate, *, train: bool):
        changes = self.stride != 1 or x.shape[-1] != self.features
        if self.kind == "C" or (self.kind == "B" and changes):
            x = self.conv(
                self.features, 1, strides=self.stride, padding=0, name="conv"
            )(x)
            return self.norm(name="norm")(x, train=train)
        x = x[:, :: self.stride, :: self.stride, :]
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.features - x.shape[-1])))
        if self.kind == "scaled":
            return 0.5 * x
        if self.kind == "dropout":
            return Dropout(self.dropout_rate)(x, train=train)
        if self.kind in ("exclusive_gate", "shortcut_gate"):
            return (1 - gate) * x
        return x


class ResidualBlock(nn.Module):
    """A residual unit, or its plain twin with the addition left out.

    Args:
      width: channels of the 3 x 3 convolutions.
      stride: stride of the block.
      bottleneck: 1x1, 3x3, 1x1 to four times the width, in place of two 3x3.
      stride_on_3x3: a bottleneck strides in its 3x3 (False: in its first 1x1, as
        published).
      residual: False gives the plain twin: same tree, no addition.
      placement: a key of `PLACEMENTS`.
      shortcut: an element of `SHORTCUTS`.
      first: the first block of a net. Under 'pre' and 'act_only_pre' its shortcut
        starts behind the first activation (He et al. 2016, appendix), as does that of
        a block that projects.
      conv: factory of convolutions.
      norm: normalization.
      act: activation function.
      zero_last_scale: the last norm's scale of the branch starts at 0.
      gate_bias: initial bias of the gates.
      shortcut_dropout_rate: for shortcut 'dropout'.

    Shapes: [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), width or 4 width].
    """

    width: int
    stride: int
    bottleneck: bool
    stride_on_3x3: bool
    residual: bool
    placement: str
    shortcut: str
    first: bool
    conv: Callable
    norm: Norm
    act: Callable
    zero_last_scale: bool
    gate_bias: float
    shortcut_dropout_rate: float

    def layers(self) -> list[tuple[int, int, int]]:
        """(features, kernel size, stride) of each convolution of the branch."""
        if not self.bottleneck:
            return [(self.width, 3, self.stride), (self.width, 3, 1)]
        s1, s3 = (1, self.stride) if self.stride_on_3x3 else (self.stride, 1)
        return [(self.width, 1, s1), (self.width, 3, s3), (4 * self.width, 1, 1)]

    @nn.compact
    def __call__(self, x, *, train: bool):
        layers = self.layers()
        branch, tail = parts_of(self.placement, len(layers))
        skip = x
        for i, (layer, parts) in enumerate(zip(layers, branch, strict=True), start=1):
            for part in parts:
                if part == "c":
                    x = self.convolve(x, i, layer)
                elif part == "n":
                    zero = self.zero_last_scale and i == len(layers)
                    norm = self.norm(
                        name=f"norm{i}", scale_init=zeros if zero else ones
                    )
                    x = norm(x, train=train)
                else:
                    x = self.act(x)
                    if i == 1 and parts[-1] != "a" and self.shares_activation():
                        skip = x
        if self.residual and self.shortcut != "none":
            x = self.add(x, skip, layers[-1][0], train)
        for part in tail:
            x = (
                self.norm(name="norm_out")(x, train=train)
                if part == "n"
                else self.act(x)
            )
        return x

    def shares_activation(self) -> bool:
        """Whether the shortcut starts behind a pre-activation, not before it."""
        projects = self.shortcut == "C" or (self.shortcut == "B" and self.stride != 1)
        return self.first or projects

    def convolve(self, x, i, layer):
        features, size, stride = layer
        conv = self.conv(
            features, size, strides=stride, padding=size // 2, name=f"conv{i}"
        )
        return conv(x)

    def add(self, x, skip, features, train):
        gate = None
        if self.shortcut.endswith("_gate"):
            # He et al. 2016, section 3.1: g = sigmoid(W x + b), a 1 x 1 convolution.
            gate = jax.nn.sigmoid(
                self.conv(
                    features,
                    1,
                    strides=self.stride,
                    padding=0,
                    use_bias=True,
                    bias_init=Initializer("constant", self.gate_bias),
                    name="gate_conv",
                )(skip)
            )
        shortcut = Shortcut(
            self.shortcut,
            features,
            self.stride,
            self.conv,
            self.norm,
            self.shortcut_dropout_rate,
            name="shortcut",
        )
        weighted = gate * x if self.shortcut == "exclusive_gate" else x
        if self.shortcut == "scaled":
            weighted = 0.5 * x  # He et al. 2016, table 1: 0.5 on both paths
        return weighted + shortcut(skip, gate, train=train)
