"""Arguments of custom gradients inside `shard_map`."""

import jax
from jax import lax


def equally_varying(*arrays: jax.Array) -> list[jax.Array]:
    """Casts arrays to vary over the same mesh axes; outside `shard_map`, nothing.

    There the images differ between devices and the parameters do not. A custom gradient
    must return each cotangent in the type of its primal; the cast, whose transpose is
    the sum over devices, gives the parameters the type of the images first.
    """
    varying = [jax.typeof(a).manual_axis_type.varying for a in arrays]
    axes = frozenset().union(*varying)
    missing = [tuple(axes - own) for own in varying]
    return [
        lax.pcast(a, m, to="varying") if m else a
        for a, m in zip(arrays, missing, strict=True)
    ]
