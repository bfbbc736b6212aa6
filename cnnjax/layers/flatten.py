"""From maps to vectors."""

import jax
from flax import linen as nn


class Flatten(nn.Module):
    """A vector per image, channel after channel.

    Channels come first, as in torch and Caffe, so that the weights of a dense layer
    after it mean the same here and there.

    Shapes: [N, H, W, C] -> [N, C * H * W].
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
