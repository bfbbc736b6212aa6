"""Compares the library with XLA, in a process that `check` starts for it."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.onednn import calls
from cnnjax.onednn.check import GOOD, WRONG
from cnnjax.onednn.convolutions import ROLES, Spec
from cnnjax.onednn.library import OneDNN
from cnnjax.onednn.pooling import PoolingSpec
from cnnjax.screen import say

# Far above rounding, far below any mistake.
TOLERANCE = 1e-4
# In what the loader, Python and XLA say where the machine is short of something.
_SHORTAGES = (
    *("allocate memory", "out of memory", "memoryerror", "exhausted"),
    *("unavailable", "no space", "too many open"),
)
_IMAGES, _CHANNELS, _SIDE = 2, 32, 7
# Window, stride, groups.
_GEOMETRIES = (3, 1, 1), (3, 2, 1), (1, 1, 1), (3, 1, 2), (3, 1, _CHANNELS)
_FIELDS = ("images", "kernel", "out", "strides", "padding", "dilation", "groups")


def wrong_result() -> str | None:
    """The first primitive whose result is not that of XLA; None if all agree.

    Needs a library that `calls` has registered.
    """
    for window, stride, groups in _GEOMETRIES:
        spec, arrays = _example(window, stride, groups)
        for kind, pair in _both(spec, *arrays).items():
            if _differ(*pair):
                return f"{kind} of {window}x{window}/{stride}, {groups} groups, differs"
    for kind, pair in _pools().items():
        if _differ(*pair):
            return f"{kind} of a pool differs"
    return None


def _differ(ours, theirs) -> bool:
    with np.errstate(all="ignore"):  # whatever lies in memory that was not written
        error = np.abs(np.asarray(ours) - np.asarray(theirs)).max()
    # Also where it is not a number.
    return not error <= TOLERANCE * np.abs(np.asarray(theirs)).max()


def _pools():
    """Kind -> what the library and what XLA compute."""
    images, maps = (_IMAGES, _SIDE, _SIDE, _CHANNELS), (_SIDE + 1) // 2
    stream = np.random.RandomState(0)
    x = jnp.asarray(stream.randn(*images), jnp.float32)
    y = jnp.asarray(stream.randn(_IMAGES, maps, maps, _CHANNELS), jnp.float32)

    def pooled(function, empty):
        pads = ((0, 0), (1, 1), (1, 1), (0, 0))
        sizes = (1, 3, 3, 1), (1, 2, 2, 1), pads
        _, pull_back = jax.vjp(
            lambda x: lax.reduce_window(x, empty, function, *sizes), x
        )
        return pull_back(y)[0]

    def ours(kind, *arrays):
        spec = PoolingSpec(kind, images, (maps, maps), (3, 3), (2, 2), (1,) * 4)
        return calls.call(spec, images, *arrays)

    return {
        "max_gradient": (ours("max_gradient", x, y), pooled(lax.max, -jnp.inf)),
        "average_gradient": (ours("average_gradient", y), pooled(lax.add, 0.0) / 9),
    }


def _example(window: int, stride: int, groups: int):
    """A convolution, and images, filters and a cotangent for it."""
    pad, side = window // 2, -(-_SIDE // stride)
    images = (_IMAGES, _SIDE, _SIDE, _CHANNELS)
    kernel = (window, window, _CHANNELS // groups, _CHANNELS)
    out = (side, side)
    spec = Spec(
        "forward", images, kernel, out, (stride,) * 2, (pad,) * 4, (1, 1), groups
    )
    stream = np.random.RandomState(0)
    shapes = images, kernel, (_IMAGES, *out, _CHANNELS)
    return spec, [jnp.asarray(stream.randn(*shape), jnp.float32) for shape in shapes]


def _both(spec: Spec, x, w, y):
    """Kind -> what the library and what XLA compute."""

    def plain(x, w):
        (pad, *_) = spec.padding
        return lax.conv_general_dilated(
            x,
            w,
            spec.strides,
            ((pad, pad),) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=spec.groups,
        )

    output, pull_back = jax.vjp(plain, x, w)
    theirs = output, *pull_back(y)
    arrays, results = {"x": x, "w": w, "y": y}, {"x": x, "w": w, "y": output}
    pairs = {}
    for (kind, (order, *_)), expected in zip(ROLES.items(), theirs, strict=True):
        own = Spec(kind, *(getattr(spec, name) for name in _FIELDS))
        first, second, result = list(order)
        ours = calls.call(own, results[result].shape, arrays[first], arrays[second])
        pairs[kind] = ours, expected
    return pairs


def main(path: str) -> int:
    """Tries the library in this process, and prints `GOOD` or what is wrong."""
    try:
        OneDNN(path)  # says why it cannot be loaded
        calls.register()
        problem = wrong_result()
    except (OSError, AttributeError, RuntimeError, MemoryError) as error:
        problem = f"{type(error).__name__}: {error}".split("\n")[0][:200]
    say(problem or GOOD)
    if problem is None:
        return 0
    may_pass = any(word in problem.lower() for word in _SHORTAGES)
    return 1 if may_pass else WRONG


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
