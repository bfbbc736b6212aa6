"""The block grammar of residual nets: where the norm and activation sit, what the
shortcut does, basic or bottleneck, groups, squeeze and excitation, what is dropped.
Every choice is an independent argument.

Source: He et al. 2015, arXiv 1512.03385 (blocks); He et al. 2016, arXiv 1603.05027
(placements: figure 4); Zagoruyko & Komodakis 2016, arXiv 1605.07146 (width, dropout);
Xie et al. 2016, arXiv 1611.05431 (groups); Hu et al. 2017, arXiv 1709.01507 (squeeze
and excitation); Huang et al. 2016, arXiv 1603.09382 (stochastic depth).

Deviations: under 'pre' and 'act_only_pre' projections carry no norm, as in the
authors' code for 'pre'; for 'act_only_pre' nothing was published.
"""

from collections.abc import Callable

import jax
from flax import linen as nn

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers.dropout import Dropout, StochasticDepth
from cnnjax.layers.init import Initializer, ones, zeros
from cnnjax.layers.norm import Norm
from cnnjax.layers.squeeze_excite import SqueezeExcite
from cnnjax.models.blocks.shortcut import Shortcut, projects

# He et al. 2016, figure 4 (a) to (e): the order of the parts around each convolution,
# and what follows the addition. In `branch`, "c" stands for a convolution. The last
# three are in no figure: activations on both sides of the addition, as in public ports
# of SE-ResNet-18, on neither, and norms that follow the activation.
PLACEMENTS = {
    "post": ("cna", "a"),
    "norm_after_add": ("cna", "na"),
    "act_before_add": ("cna", ""),
    "act_only_pre": ("acn", ""),
    "pre": ("nac", ""),
    "act_around_add": ("cna", "a"),
    "no_act_after_add": ("cna", ""),
    "norm_after_act": ("can", ""),
}
# Stage width for which `base_width` is stated: that of the first stage on ImageNet.
BASE = 64


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
    if placement in ("post", "no_act_after_add"):
        branch[-1] = "cn"  # a last activation would come after the addition
    elif placement == "norm_after_add":
        branch[-1] = "c"
    return branch, tail


def reduced_width(features: int, reduction: int, divisor: int) -> int:
    """Channels within squeeze and excitation: the multiple nearest to the quotient.

    Raises:
      UserError: nothing can be divided by these.
    """
    if reduction < 1 or divisor < 1:
        raise UserError(
            f"config.model.se_reduction is {reduction} and config.model.se_divisor is "
            f"{divisor}: both must be at least 1"
        )
    return max(1, int(features / reduction / divisor + 0.5)) * divisor


class Add(nn.Module):
    """The addition of a block: a module, so that it can be observed and left out."""

    def __call__(self, branch: jax.Array, shortcut: jax.Array) -> jax.Array:
        return branch + shortcut


class ResidualBlock(nn.Module):
    """A residual unit, or its plain twin with the addition left out.

    Args:
      width: channels of the 3 x 3 convolutions, before `groups` and `base_width`.
      stride: stride of the block.
      first: the first block of a net. Under 'pre' and 'act_only_pre' its shortcut
        starts after the first activation (He et al. 2016, appendix), as does that of
        a block that projects.
      conv: factory of convolutions.
      norm: normalization.
      act: activation function.
      bottleneck: 1x1, 3x3, 1x1 to four times the width, in place of two 3x3.
      stride_on_3x3: a bottleneck strides in its 3x3 (False: in its first 1x1, as
        published).
      residual: False gives the plain twin: same tree, no addition.
      placement: a key of `PLACEMENTS`.
      shortcut: an element of `shortcut.SHORTCUTS`.
      projection_size: kernel size of the projections that stride.
      groups: of the 3 x 3 convolutions ("cardinality").
      base_width: channels a group at width 64; the inner width is
        floor(width * base_width / 64) * groups.
      narrow_first: a bottleneck's first 1x1 gives half of the inner width.
      squeeze_excite: weigh the channels of the branch before the addition.
      se_reduction: by how much the channels shrink there.
      se_divisor: what they are rounded to a multiple of.
      block_dropout_rate: of what enters the second convolution.
      stochastic_depth_rate: probability of dropping the branch.
      zero_last_scale: the last norm's scale of the branch starts at 0.
      gate_bias: initial bias of the gates.
      shortcut_dropout_rate: for shortcut 'dropout'.

    Shapes: [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), width or 4 width].
    """

    width: int
    stride: int
    first: bool
    conv: Callable
    norm: Norm
    act: Callable
    bottleneck: bool = False
    stride_on_3x3: bool = False
    residual: bool = True
    placement: str = "post"
    shortcut: str = "A"
    projection_size: int = 1
    groups: int = 1
    base_width: int = BASE
    narrow_first: bool = False
    squeeze_excite: bool = False
    se_reduction: int = 16
    se_divisor: int = 1
    block_dropout_rate: float = 0.0
    stochastic_depth_rate: float = 0.0
    zero_last_scale: bool = False
    gate_bias: float = -6.0
    shortcut_dropout_rate: float = 0.5

    @property
    def adds(self) -> bool:
        """Whether there is a shortcut."""
        return self.residual and self.shortcut != "none"

    def layers(self) -> list[tuple[int, int, int, int]]:
        """(features, kernel size, stride, groups) of each convolution of the branch."""
        inner = self.width * self.base_width // BASE * self.groups
        if not self.bottleneck:
            return [
                (inner, 3, self.stride, self.groups),
                (self.width, 3, 1, self.groups),
            ]
        s1, s3 = (1, self.stride) if self.stride_on_3x3 else (self.stride, 1)
        return [
            (inner // 2 if self.narrow_first else inner, 1, s1, 1),
            (inner, 3, s3, self.groups),
            (4 * self.width, 1, 1, 1),
        ]

    @nn.compact
    def __call__(self, x, *, train: bool):
        layers = self.layers()
        branch, tail = parts_of(self.placement, len(layers))
        features = layers[-1][0]
        # Whether the shortcut starts after a pre-activation, not before it.
        shares = self.first or projects(
            self.shortcut, self.stride, x.shape[-1], features
        )
        skip = x
        for i, (layer, parts) in enumerate(zip(layers, branch, strict=True), start=1):
            for part in parts:
                if part == "c":
                    x = self.convolve(x, i, layer, train)
                elif part == "n":
                    x = self.normalize(x, i, i == len(layers), train)
                else:
                    x = self.act(x)
                    if i == 1 and parts.index("a") < parts.index("c") and shares:
                        skip = x
        if self.squeeze_excite:
            x = self.weigh(x)
        if self.adds:
            x = Add(name="add")(*self.paths(x, skip, features, train))
        for part in tail:
            x = (
                self.norm(name="norm_out")(x, train=train)
                if part == "n"
                else self.act(x)
            )
        return x

    def convolve(self, x, i, layer, train):
        features, size, stride, groups = layer
        if i == 2 and self.block_dropout_rate:
            x = Dropout(self.block_dropout_rate, name="dropout")(x, train=train)
        conv = self.conv(
            features,
            size,
            strides=stride,
            padding=size // 2,
            groups=groups,
            name=f"conv{i}",
        )
        return conv(x)

    def normalize(self, x, i, last, train):
        scale_init = zeros if last and self.zero_last_scale else ones
        return self.norm(name=f"norm{i}", scale_init=scale_init)(x, train=train)

    def weigh(self, x):
        reduced = reduced_width(x.shape[-1], self.se_reduction, self.se_divisor)
        return SqueezeExcite(reduced, self.conv, self.act, name="squeeze_excite")(x)

    def paths(self, x, skip, features, train):
        """Both sides of the addition, weighted: the branch and the shortcut."""
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
            self.projection_size,
            self.conv,
            None if self.placement in ("pre", "act_only_pre") else self.norm,
            self.shortcut_dropout_rate,
            name="shortcut",
        )
        if self.stochastic_depth_rate:
            drop = StochasticDepth(self.stochastic_depth_rate, name="stochastic_depth")
            x = drop(x, train=train)
        weighted = gate * x if self.shortcut == "exclusive_gate" else x
        if self.shortcut == "scaled":
            weighted = 0.5 * x  # He et al. 2016, table 1: 0.5 on both paths
        return weighted, shortcut(skip, gate, train=train)
