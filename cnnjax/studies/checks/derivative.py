"""The gradient against central differences, in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cnnjax.devices.parallel import compile_program
from cnnjax.net.forward import forward_train
from cnnjax.studies.checks.finding import (
    FAILED,
    FEWEST_IMAGES,
    PASSED,
    UNKNOWN,
    Finding,
    Subject,
)

STEP = 1e-6  # times the size of the parameters
# Of the difference, relative to the derivative: units at their kink, and rounding.
MOST_DIFFERENCE = 1e-3


def derivatives(subject: Subject) -> Finding:
    """Derivatives along one random direction for each kind of parameter."""
    run = subject.run
    if not hasattr(run.model, "dtype"):
        why = "the net has no field dtype, so it cannot be computed in float64"
        return Finding(UNKNOWN, "", why)
    with jax.enable_x64(True):
        found = _differences(subject)
    worst = max(found, key=found.__getitem__)
    kinds = ", ".join(sorted(found))
    number = f"relative difference of at most {found[worst]:.0e} ({kinds})"
    if not found[worst] <= MOST_DIFFERENCE:
        why = f"the gradient of {worst} is wrong: look at custom derivatives"
        return Finding(FAILED, number, why)
    return Finding(PASSED, number)


def _differences(subject: Subject) -> dict[str, float]:
    """Kind of parameter -> relative difference of the two derivatives."""
    run = subject.run
    model = run.model.clone(dtype=jnp.float64)
    double = jax.tree.map(
        lambda leaf: (
            np.asarray(leaf, np.float64)
            if np.issubdtype(np.asarray(leaf).dtype, np.floating)
            else np.asarray(leaf)
        ),
        dict(subject.variables),
    )
    params = double.pop("params")
    images: Any = np.asarray(subject.floats, np.float64)[:FEWEST_IMAGES]
    targets = subject.targets[:FEWEST_IMAGES].astype(np.float64)

    def loss(params):
        key = jax.random.key(0)
        logits, auxiliary, _ = forward_train(model, params, double, images, key)
        of_batch = run.loss.of_batch
        return of_batch(logits, auxiliary, targets, subject.numbers, len(images))[1]

    value = compile_program(loss, (params,), impl="lax")
    gradient = compile_program(jax.grad(loss), (params,), impl="lax")(params)
    flat = traverse_util.flatten_dict(params, sep="/")
    slopes = traverse_util.flatten_dict(gradient, sep="/")
    stream, found = np.random.RandomState(0), {}
    for kind in sorted({path.rpartition("/")[2] for path in flat}):
        chosen = [path for path in flat if path.rpartition("/")[2] == kind]
        way = {
            path: stream.standard_normal(leaf.shape) * (np.std(leaf) or 1.0)
            if path in chosen
            else np.zeros(leaf.shape)
            for path, leaf in flat.items()
        }

        def at(step, way=way):
            moved = {path: leaf + step * way[path] for path, leaf in flat.items()}
            return float(value(traverse_util.unflatten_dict(moved, sep="/")))

        measured = (at(STEP) - at(-STEP)) / (2 * STEP)
        claimed = sum(float(np.vdot(slopes[path], way[path])) for path in chosen)
        size = max(abs(measured), abs(claimed), 1e-6)
        found[kind] = abs(measured - claimed) / size
    return found
