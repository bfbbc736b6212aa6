"""Checks of the untrained net: loss, gradients of layers, dead units, activations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cnnjax.analysis.complexity import equations, products
from cnnjax.devices.parallel import compile_program
from cnnjax.net.execution import unscanned
from cnnjax.net.forward import forward_eval, forward_train
from cnnjax.net.observe import Call, observe
from cnnjax.net.stacked import stacks_of, unstack
from cnnjax.studies.checks.finding import FAILED, PASSED, UNKNOWN, Finding, Subject

# Of the loss of a net whose scores are all equal: initial scores are not quite, and
# some published initial values give large ones.
LEAST_LOSS, MOST_LOSS = 0.5, 4.0
# Between the largest and the least gradient of a layer, in powers of ten. The plain
# nets of 56 layers of He et al. 2015 have 2.5.
MOST_DECADES = 5.0
MOST_DEAD = 0.5
# Of activations per layer with weights; separable convolutions have one for two, the
# blocks of ConvNeXt one for three.
FEWEST_ACTIVATIONS = 0.2
# Of those by parts, such as relu6, the choice of a part.
ACTIVATIONS = ("logistic", "tanh", "erf", "exp", "log1p", "sign", "select_n")
BOUNDS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0), "softsign": (-1.0, 1.0)}
SATURATED = 0.01  # of the span of the function


def initial_loss(subject: Subject) -> Finding:
    """The loss against that of a net which knows nothing."""
    run = subject.run
    chance = run.loss.of_chance(run.dataset.num_classes)
    measured = float(_losses(subject).mean())
    number = f"{measured:.3g}, and {chance:.3g} for equal scores"
    if not np.isfinite(measured):
        return Finding(FAILED, number, "the first forward pass overflows: look at init")
    if measured > MOST_LOSS * chance:
        why = "the initial scores are large: look at init, and at the last layer"
        return Finding(FAILED, number, why)
    if measured < LEAST_LOSS * chance and run.began:
        return Finding(UNKNOWN, number, "the net starts from weights that were trained")
    if measured < LEAST_LOSS * chance:
        why = "the untrained net knows the labels: look for them in the images"
        return Finding(FAILED, number, why)
    return Finding(PASSED, number)


def _losses(subject: Subject) -> jax.Array:
    """Of each image, with the statistics of these images."""
    run = subject.run
    example = (subject.variables, subject.floats)
    forward = functools.partial(_trained, run.model)
    logits, _, _ = compile_program(forward, example, impl=run.train.impl)(*example)
    return run.loss(logits, subject.targets)


def _trained(model, variables, images):
    state = dict(variables)
    params = state.pop("params")
    return forward_train(model, params, state, images, jax.random.key(0))


def gradients(subject: Subject) -> Finding:
    """Parameters without a gradient, and how much gradients differ by layer.

    The weights are moved a little first: scales that start at 0, as the last of a
    residual block may, hold back the gradient of what is before them.
    """
    run, key = subject.run, jax.random.key(1)
    state = dict(subject.variables)
    params = _moved(state.pop("params"), key)

    def loss(params):
        images = subject.floats
        logits, auxiliary, _ = forward_train(run.model, params, state, images, key)
        return run.loss.of_batch(
            logits, auxiliary, subject.targets, subject.numbers, len(images)
        )[1]

    gradient = compile_program(jax.grad(loss), (params,), impl=run.train.impl)
    found = unstack(gradient(params), stacks_of(run.declared))
    flat = traverse_util.flatten_dict(jax.device_get(found), sep="/")
    if odd := [path for path, leaf in flat.items() if not np.isfinite(leaf).all()]:
        why = "the backward pass overflows: look at init and the learning rate"
        return Finding(FAILED, f"not finite: {_some(odd)}", why)
    if still := [path for path, leaf in flat.items() if not np.any(leaf)]:
        why = "no image changes them: a layer is detached, or dead, or not used"
        return Finding(FAILED, f"no gradient: {_some(still)}", why)
    norms = {
        path: float(np.sqrt(np.mean(np.square(leaf))))
        for path, leaf in flat.items()
        if path.endswith("/kernel")
    }
    if len(norms) < 2:
        return Finding(PASSED, "all parameters have one")
    least, most = min(norms, key=norms.__getitem__), max(norms, key=norms.__getitem__)
    decades = np.log10(norms[most] / norms[least])
    number = f"10^{decades:.1f} between {most} and {least}"
    if decades > MOST_DECADES:
        why = "it vanishes or explodes: look at init, norms and shortcuts"
        return Finding(FAILED, number, why)
    return Finding(PASSED, number)


def _moved(params, key):
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    moved = [
        leaf + 0.1 * (jnp.std(leaf) + 0.1) * jax.random.normal(k, leaf.shape)
        if leaf.ndim < 2
        else leaf
        for leaf, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(tree, moved)


def _some(paths: list[str], most: int = 3) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(paths[:most]) + more


def units(subject: Subject) -> Finding:
    """The share of units that are dead or saturated, by what the next layer sees."""
    run = subject.run
    bounds = BOUNDS.get(run.config.model.get("act", ""))
    rows = _seen_by_layers(subject, bounds)
    if not rows:
        return Finding(UNKNOWN, "no layer with weights behind another", "")
    worst = max(rows, key=lambda path: max(rows[path]))
    dead, saturated = (np.mean([row[i] for row in rows.values()]) for i in (0, 1))
    number = f"{100 * dead:.1f}% dead" + (
        f", {100 * saturated:.1f}% saturated" if bounds else ""
    )
    number += f"; most before {worst}: {100 * max(rows[worst]):.0f}%"
    if max(rows[worst]) > MOST_DEAD:
        why = "they learn nothing: look at init, biases and the scale of the images"
        return Finding(FAILED, number, why)
    return Finding(PASSED, number)


def _seen_by_layers(subject: Subject, bounds) -> dict[str, tuple[float, float]]:
    """Path -> shares of channels that never change and of values at a bound.

    Of the inputs of layers with weights, but for the first.
    """
    model = unscanned(subject.run.model)
    variables = unstack(subject.variables, stacks_of(subject.run.declared))
    paths: list[str] = []

    def forward(variables, images):
        rows = []

        def look(call: Call):
            kernel = call.module.variables.get("params", {}).get("kernel")
            if kernel is not None and isinstance(call.args[0], jax.Array):
                paths.append(call.path)
                rows.append(_shares(call.args[0], bounds))
            return call.run()

        with observe(look):
            _trained(model, variables, images)
        return rows

    example = (variables, subject.floats)
    rows = jax.device_get(compile_program(forward, example)(*example))
    seen = dict(zip(paths, rows, strict=True))
    return {path: (float(a), float(b)) for path, (a, b) in list(seen.items())[1:]}


def _shares(x, bounds):
    axes = tuple(range(x.ndim - 1))
    dead = jnp.mean(x.max(axes) == x.min(axes))
    if bounds is None:
        return dead, jnp.zeros(())
    low, high = bounds
    near = SATURATED * (high - low)
    return dead, jnp.mean((x < low + near) | (x > high - near))


def activations(subject: Subject) -> Finding:
    """Whether anything in the net is not linear, by its traced program."""
    run = subject.run
    state = dict(subject.variables)
    params = state.pop("params")
    program = jax.make_jaxpr(
        lambda params, state, images: forward_eval(run.model, params, state, images)
    )(params, state, subject.floats[:1])
    bent = layers = 0
    for equation, times in equations(program.jaxpr):
        bent += times * _is_activation(equation)
        layers += times * (products(equation) > 0)
    number = f"{bent} activations and {layers} layers with weights"
    if layers > 1 and bent < FEWEST_ACTIVATIONS * (layers - 1):
        why = "layers without one between them are one linear layer: look for it"
        return Finding(FAILED, number, why)
    return Finding(PASSED, number)


def _is_activation(equation) -> bool:
    name = equation.primitive.name
    if name == "max":  # of an array and a number, not of two windows
        return min(getattr(v.aval, "ndim", 0) for v in equation.invars) == 0
    return name in ACTIVATIONS
