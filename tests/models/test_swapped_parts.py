"""Every entry takes the norm and the activation that it is given, everywhere.

Nothing is computed here: the nets are traced.
"""

import functools

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax.core import meta
from flax.traverse_util import flatten_dict
from jax.extend import core

from cnnjax.errors import UserError
from cnnjax.layers.act import ACTIVATIONS
from cnnjax.layers.norm import NORMS, Norm
from cnnjax.layers.squeeze_excite import SqueezeExcite
from cnnjax.models.registry import create_model, list_models, variant
from cnnjax.net.execution import unscanned
from cnnjax.net.forward import forward_train
from cnnjax.net.initialize import abstract_variables
from tests.models.entries import ARCHITECTURES, DEEP, FEW, STRUCTURES, few_by_default

# Hidden layers that are vectors, or a map of one pixel in the auxiliary head of
# inception_v3: a statistic of one channel would be of one value.
NO_INSTANCE_NORM = {"mlp", "lenet5", "lenet5_published", "inception_v3"}
# What no linear net computes; pooling takes the maximum of two maps, not of a constant.
NONLINEAR = {"tanh", "logistic", "exp", "exp2", "log", "log1p", "erf", "rsqrt", "sqrt"}
NONLINEAR |= {"custom_jvp_call", "pow", "integer_pow", "square", "abs", "sign"}
NONLINEAR |= {"clamp", "cbrt", "sin", "cos"}


def norm_of(kind):
    return Norm(kind, num_groups=2 if kind == "group" else None)


def images_of(name):
    return jax.ShapeDtypeStruct((2, *variant(name).input_shape), np.float32)


def calls(model, name):
    """Path -> class of every module called while the variables are declared."""
    seen, model = {}, unscanned(model)

    def note(call, args, kwargs, context):
        if context.method_name == "__call__":
            seen["/".join(context.module.path)] = type(context.module).__name__
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        variables = abstract_variables(model, variant(name).input_shape)
    return seen, meta.unbox(variables)


@functools.cache
def calls_with_batch_norm(name):
    return calls(create_model(name, norm="batch"), name)


def is_below(path, modules):
    return any(path.startswith(f"{module}/") for module in modules)


def beside(leaves, modules):
    """Paths of the leaves that are not within some modules."""
    return {path for path in leaves if not is_below(path, modules)}


# One kind with a bias and one without say how a net treats them all.
QUICK = {(name, kind) for name in FEW for kind in ("group", "local_response")}
CASES = [
    pytest.param(name, kind, marks=[] if (name, kind) in QUICK else [pytest.mark.slow])
    for name in list_models()
    for kind in NORMS
    if name not in DEEP
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_norm_is_taken_everywhere(name, kind):
    model = create_model(name, norm=norm_of(kind))
    if kind == "instance" and name in NO_INSTANCE_NORM:
        with pytest.raises(UserError, match="single value"):
            calls(model, name)
        return
    seen, variables = calls(model, name)
    reference, reference_variables = calls_with_batch_norm(name)
    places = {path for path, module in reference.items() if module == "BatchNorm"}
    assert places
    own = type(norm_of(kind).module()).__name__
    # In the head of inception_v2 one convolution has none, as published.
    bare = {path for path, module in reference.items() if module == "NoNorm"}
    assert not bare or (name, bare) == ("inception_v2", {"auxiliary/conv2/norm"})
    here = {path for path, module in seen.items() if module == own} - bare
    # A norm of the user's own may be made of layers.
    seen = {path: module for path, module in seen.items() if not is_below(path, here)}
    # The nets of 2012 to 2014 had local response norm at one or two places, and
    # nothing where others have a norm behind every convolution.
    assert here == places or (kind == "local_response" and len(here) in (1, 2))
    left_out = places - here
    assert {seen.get(path, "NoNorm") for path in left_out} <= {"NoNorm"}
    assert seen.keys() - here - left_out == reference.keys() - places
    others = seen.keys() - here - left_out - bare
    assert [seen[path] for path in others if "Norm" in seen[path][-5:]] == []

    leaves = flatten_dict(variables["params"], sep="/")
    assert kind != "batch" or "batch_stats" in variables
    # Without a norm that shifts, every convolution and dense layer has a bias.
    if NORMS[kind].has_bias:
        expected = flatten_dict(reference_variables["params"], sep="/").keys()
        assert beside(leaves, here) == beside(expected, places)
    else:
        biases = {p.rpartition("/")[0] for p in leaves if p.endswith("/bias")}
        kernels = {p.rpartition("/")[0] for p in leaves if p.endswith("/kernel")}
        assert kernels <= biases


def equations(jaxpr):
    """All equations of a program; of a choice by platform, the plain operation."""
    for equation in jaxpr.eqns:
        yield equation
        branches = equation.params.get("branches")
        if branches:
            yield from equations(branches[-1].jaxpr)
            continue
        for value in equation.params.values():
            if isinstance(value, core.ClosedJaxpr):
                yield from equations(value.jaxpr)
            elif isinstance(value, core.Jaxpr):
                yield from equations(value)


def nonlinear(equation):
    name = equation.primitive.name
    if name in ("max", "min"):
        return any(isinstance(v, core.Literal) for v in equation.invars)
    return name in NONLINEAR


@pytest.mark.parametrize("name", few_by_default(STRUCTURES))
def test_the_activation_is_taken_everywhere(name):
    """Without norm and with the identity for activation, nothing nonlinear is left."""

    def without_gates(call, args, kwargs, context):
        if isinstance(context.module, SqueezeExcite):
            return args[0]
        return call(*args, **kwargs)

    model = create_model(name, norm="none", act="identity")
    with nn.intercept_methods(without_gates):
        variables = meta.unbox(abstract_variables(model, variant(name).input_shape))
        params = variables.pop("params")
        jaxpr = jax.make_jaxpr(
            lambda p, x: forward_train(model, p, variables, x, jax.random.key(0))[:2]
        )(params, images_of(name))
    stray = {e.primitive.name for e in equations(jaxpr.jaxpr) if nonlinear(e)}
    assert not stray, f"{name} computes {stray} beside its norm and activation"


@pytest.mark.parametrize("name", few_by_default(ARCHITECTURES))
def test_a_stray_activation_would_be_seen(name):
    model = create_model(name, norm="none", act="relu")
    variables = meta.unbox(abstract_variables(model, variant(name).input_shape))
    jaxpr = jax.make_jaxpr(
        lambda v, x: forward_train(model, v["params"], {}, x, jax.random.key(0))[0]
    )(variables, images_of(name))
    assert any(nonlinear(equation) for equation in equations(jaxpr.jaxpr))


@pytest.mark.parametrize("name", few_by_default(STRUCTURES))
def test_every_activation_is_called_where_the_own_one_is(name):
    counts = {"relu": 0, "tanh": 0}

    def counting(kind):
        def act(x):
            counts[kind] += 1
            return ACTIVATIONS[kind](x)

        return act

    for kind in counts:
        calls(create_model(name).clone(act=counting(kind)), name)
    assert counts["relu"] == counts["tanh"] >= 1
