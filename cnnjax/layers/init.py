"""Initial values of parameters, drawn on the host from a stream per (seed, leaf).

Compiling `model.init` costs seconds for a deep net (one random generator per leaf), and
its values depend on JAX's generator. Here a declared parameter only *names* its
distribution; `net.initialize` traces the net for shapes and draws each leaf with
NumPy's frozen `RandomState`, which gives the same values on every platform.
"""

import contextlib
import contextvars
import dataclasses
import hashlib
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from flax.core import meta

_declaring = contextvars.ContextVar("declaring", default=False)


class Declared(struct.PyTreeNode, meta.AxisMetadata):
    """A leaf that carries its initializer through `jax.eval_shape`.

    Args:
      value: of the leaf's shape.
      initializer: its distribution, an `Initializer`, or the `FlaxInit` that
        `net.initialize` puts in place of None where a Linen layer declared it.
      stacked: of a leaf that stacks equal blocks (`layers.scan_blocks`): the name of
        the stack in the path, and the names of its blocks.
    """

    value: jax.Array
    initializer: Any = struct.field(pytree_node=False)
    stacked: tuple[str, tuple[str, ...]] | None = struct.field(
        pytree_node=False, default=None
    )

    def draw(self, seed: int, path: str) -> np.ndarray:
        """Values from the streams of (seed, path), one path a block in a stack."""
        if self.stacked is None:
            return self.initializer.draw(seed, path, self.value.shape)
        together, names = self.stacked
        paths = [path.replace(together, name, 1) for name in names]
        shape = self.value.shape[1:]
        return np.stack([self.initializer.draw(seed, p, shape) for p in paths])

    def unbox(self):
        return self.value

    def replace_boxed(self, val):
        return self.replace(value=val)

    def add_axis(self, index, params):
        return self

    def remove_axis(self, index, params):
        return self


def is_declaring() -> bool:
    """Whether leaves are being declared, see `declaring`."""
    return _declaring.get()


@contextlib.contextmanager
def declaring():
    """Within this context a traced `model.init` yields `Declared` leaves."""
    token = _declaring.set(True)
    try:
        yield
    finally:
        _declaring.reset(token)


@dataclasses.dataclass(frozen=True)
class Initializer:
    """A distribution for a parameter; usable wherever Linen takes an initializer.

    Args:
      kind: 'constant', 'normal', 'uniform' or 'orthogonal'.
      scale: the constant; or the gain g in variance = g / fan.
      fan: 'in', 'out' or 'avg' for variance scaling; 'none' for variance = scale ** 2
        (uniform: values within +-scale; orthogonal: columns of this length).
    """

    kind: str
    scale: float
    fan: str = "none"

    def std(self, shape: tuple[int, ...]) -> float:
        """Standard deviation for a kernel of shape [*window, in, out]."""
        if self.fan == "none":
            return self.scale if self.kind == "normal" else self.scale / math.sqrt(3)
        window = math.prod(shape[:-2])
        fan_in, fan_out = window * shape[-2], window * shape[-1]
        fan = {"in": fan_in, "out": fan_out, "avg": (fan_in + fan_out) / 2}[self.fan]
        return math.sqrt(self.scale / fan)

    def times(self, factor: float) -> "Initializer":
        """The distribution of the values times a factor."""
        gain = factor if self.fan == "none" else factor**2  # of values, of variances
        return dataclasses.replace(self, scale=self.scale * gain)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32):
        """Linen's protocol: values from a JAX key (or a declaration, see above)."""
        if _declaring.get():
            return Declared(jnp.zeros(shape, dtype), self)
        if self.kind == "constant":
            return jnp.full(shape, self.scale, dtype)
        if self.kind == "normal":
            return self.std(shape) * jax.random.normal(key, shape, dtype)
        if self.kind == "orthogonal":
            return jax.nn.initializers.orthogonal(self.scale)(key, shape, dtype)
        limit = math.sqrt(3) * self.std(shape)
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    def draw(self, seed: int, path: str, shape: tuple[int, ...]) -> np.ndarray:
        """Values from the stream of (seed, path), float32, the same everywhere."""
        if self.kind == "constant":
            return np.full(shape, self.scale, np.float32)
        digest = hashlib.sha256(f"{seed}:{path}".encode()).digest()
        stream = np.random.RandomState(np.frombuffer(digest, "<u4"))
        if self.kind == "normal":
            return (self.std(shape) * stream.standard_normal(shape)).astype(np.float32)
        if self.kind == "orthogonal":
            return (self.scale * _orthogonal(stream, shape)).astype(np.float32)
        limit = math.sqrt(3) * self.std(shape)
        return stream.uniform(-limit, limit, shape).astype(np.float32)


def _orthogonal(stream: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """Orthonormal columns of [window * in, out]; rows, where there are fewer rows.

    In float64: what libraries of linear algebra differ by is lost in rounding.
    """
    rows, columns = math.prod(shape[:-1]), shape[-1]
    values = stream.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(values)
    q *= np.sign(np.diag(r))  # uniform over all, whatever signs the library takes
    return (q if rows >= columns else q.T).reshape(shape)


zeros = Initializer("constant", 0.0)
ones = Initializer("constant", 1.0)
# He et al. 2015, arXiv 1502.01852, eq. 10: variance 2 / fan_in for rectifier nets.
he_normal = Initializer("normal", 2.0, "in")
# The same with fan_out (eq. 14), which keeps the backward signal instead.
he_normal_fan_out = Initializer("normal", 2.0, "out")
# LeCun et al. 1998, "Efficient BackProp": variance 1 / fan_in.
lecun_normal = Initializer("normal", 1.0, "in")
# Glorot and Bengio 2010, eq. 16: variance 2 / (fan_in + fan_out), uniform.
glorot_uniform = Initializer("uniform", 1.0, "avg")
glorot_normal = Initializer("normal", 1.0, "avg")
# Saxe et al. 2013, arXiv 1312.6120: keeps lengths; for rectifiers times sqrt(2).
orthogonal = Initializer("orthogonal", 1.0)
# Of a fixed standard deviation, which is what it is multiplied by: 0.01 in Krizhevsky
# et al. 2012, section 5.
normal = Initializer("normal", 1.0)

# What kernels can be drawn from, by name.
KERNELS = {
    "he_normal": he_normal,
    "he_normal_fan_out": he_normal_fan_out,
    "lecun_normal": lecun_normal,
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "orthogonal": orthogonal,
    "normal": normal,
}
