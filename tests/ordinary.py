"""Layers and a net in plain Linen, as a user would write them: no import of ours.

Only that the tests do not allow arrays of several ranks in one sum, as JAX does.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

normal = nn.initializers.normal(0.2)


class RMSNorm(nn.Module):
    """Root mean square over the channels, without bias; in `setup`, of no `train`."""

    features: int
    epsilon: float = 1e-6
    scale_init: nn.initializers.Initializer = nn.initializers.ones

    def setup(self):
        self.weight = self.param("weight", self.scale_init, (self.features,))

    def __call__(self, x):
        mean_square = (x**2).mean(-1, keepdims=True)
        return (
            x
            * jax.lax.rsqrt(mean_square + self.epsilon)
            * self.weight[None, None, None]
        )


class Gain(nn.Module):
    """A norm with one parameter of shape () and a drawn initial value."""

    @nn.compact
    def __call__(self, x, *, train):
        gain = self.param("gain", normal, ())
        return (1 + gain) * x / (1e-6 + jnp.abs(x).mean((1, 2, 3), keepdims=True))


class PReLU(nn.Module):
    """torch's nn.PReLU: one slope for all channels."""

    start: float = 0.25

    @nn.compact
    def __call__(self, x):
        slope = self.param("slope", nn.initializers.constant(self.start), ())
        return jnp.where(x >= 0, x, slope * x)


class StandardizedConv(nn.Module):
    """Qiao et al. 2019, arXiv 1903.10520: weights with mean 0 and variance 1."""

    features: int
    size: int
    strides: int = 1
    padding: int = 0
    groups: int = 1
    use_bias: bool = False

    @nn.compact
    def __call__(self, x):
        shape = (self.size, self.size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", normal, shape)
        axes = (0, 1, 2)
        kernel = kernel - kernel.mean(axes, keepdims=True)
        kernel = kernel / jnp.sqrt((kernel**2).mean(axes, keepdims=True) + 1e-10)
        y = jax.lax.conv_general_dilated(
            x,
            kernel,
            (self.strides,) * 2,
            [(self.padding,) * 2] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=self.groups,
        )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + bias[None, None, None]
        return y


class Net(nn.Module):
    """Convolutions, batch norm, pools and a dense head of Flax."""

    num_classes: int = 3
    width: int = 4

    @nn.compact
    def __call__(self, images, *, train):
        x = nn.Conv(self.width, (3, 3), kernel_init=normal, name="first")(images)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x)
        x = nn.max_pool(nn.relu(x), (2, 2), (2, 2))
        x = nn.Conv(self.width, (3, 3), kernel_init=normal, name="second")(x)
        return nn.Dense(self.num_classes, kernel_init=normal)(nn.relu(x).mean((1, 2)))


class Counting(nn.Module):
    """A collection of its own: how many training steps there were."""

    @nn.compact
    def __call__(self, x, *, train):
        steps = self.variable("counts", "steps", jnp.zeros, (), jnp.int32)
        if train and not self.is_initializing():
            steps.value += 1
        return x


class Averaging(nn.Module):
    """Statistics of its own over images, in a collection of its own."""

    @nn.compact
    def __call__(self, x, *, train):
        level = self.variable("levels", "level", jnp.ones, ())
        y = x / level.value
        if train and not self.is_initializing():
            level.value = 0.9 * level.value + 0.1 * jnp.abs(x).mean()
        return y


class Noise(nn.Module):
    """Random in training, with a key of `make_rng`."""

    stream: str = "dropout"

    @nn.compact
    def __call__(self, x, *, train):
        if not train:
            return x
        return x + jax.random.normal(self.make_rng(self.stream), x.shape)


class Around(nn.Module):
    """A net with one layer of those above, or another with the same call, in it."""

    layer: nn.Module
    num_classes: int = 3

    @nn.compact
    def __call__(self, images, *, train):
        x = nn.Conv(4, (3, 3), kernel_init=normal)(images)
        x = nn.relu(self.layer(x, train=train))
        return nn.Dense(self.num_classes, kernel_init=normal)(x.mean((1, 2)))
