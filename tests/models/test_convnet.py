"""The net of exchangeable parts: counts by hand, sizes, and a twin in torch."""

import jax
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.models.registry import create_model
from cnnjax.net.forward import forward_eval
from cnnjax.net.initialize import abstract_variables, init_variables
from tests.models.shapes import output_shapes

STACKS = {"one 7x7": (7, 1, 49), "three 3x3": (3, 3, 27)}
STACKS |= {"one 5x5": (5, 1, 25), "two 3x3": (3, 2, 18)}
# How a stage ends -> sides behind the first and second stage of 28 and of 9 pixels.
SIDES = {"max": (14, 7, 4, 2), "avg": (14, 7, 4, 2), "stride": (14, 7, 5, 3)}
SIDES |= {"none": (28, 28, 9, 9)}


def weights(declared, start=""):
    """Elements of the kernels of convolutions."""
    return sum(
        leaves["conv"]["kernel"].value.size
        for name, leaves in declared["params"].items()
        if name.startswith(start) and "conv" in leaves
    )


@pytest.mark.parametrize("stack", STACKS)
def test_weights_of_a_stack_of_filters(stack):
    """Simonyan & Zisserman 2014, section 2.3: 49 C^2 of one 7x7, 27 C^2 of three 3x3.

    In the second stage of a net with C channels in both.
    """
    size, count, factor = STACKS[stack]
    model = create_model(
        "convnet_mnist", widths=(6, 6), kernel_size=size, num_convs=count
    )
    declared = abstract_variables(model, (28, 28, 1))
    assert weights(declared, "stage2") == factor * 6**2


def test_weights_of_separable_convolutions():
    """Howard et al. 2017, section 3.1: k^2 M + M N in place of k^2 M N."""
    declared = abstract_variables(
        create_model("convnet_cifar", widths=(4, 6), separable=True), (32, 32, 3)
    )
    first = 9 * 3 * 4  # stays whole
    others = [(4, 4), (4, 6), (6, 6)]
    assert weights(declared) == first + sum(9 * m + m * n for m, n in others)


@pytest.mark.parametrize("pool", SIDES)
def test_sides_of_the_maps(pool):
    found = []
    for side in (28, 9):
        shapes, _ = output_shapes("convnet_mnist", side, pool=pool, head="dense")
        for stage in ("stage1", "stage2"):
            of_stage = [v for path, v in shapes.items() if path.startswith(stage)]
            found.append(of_stage[-1][0])
        assert shapes["flatten"] == (found[-1] ** 2 * 32,)
    assert tuple(found) == SIDES[pool]


@pytest.mark.parametrize(
    ("argument", "value", "sentence"),
    [
        ("pool", "maxx", "did you mean 'max'"),
        ("head", "dens", "did you mean 'dense'"),
        ("kernel_size", 4, "must be odd"),
        ("num_convs", 0, "of at least 1"),
        ("dense_width", -1, "of at least 0"),
        ("widths", (8, 0), "of at least 1"),
    ],
)
def test_wrong_choices_are_named(argument, value, sentence):
    model = create_model("convnet_digits", **{argument: value})
    with pytest.raises(UserError, match=sentence) as caught:
        abstract_variables(model, (8, 8, 1))
    assert f"config.model.{argument}" in str(caught.value)


# -- a twin in torch -------------------------------------------------------------------

CASES = {
    "plain": {},
    "large filters": {"kernel_size": 5, "num_convs": 1, "pool": "avg"},
    "steps": {"pool": "stride", "head": "dense"},
    "hidden": {"pool": "none", "head": "dense", "dense_width": 7},
    "separable": {"separable": True, "pool": "stride"},
}


def twin(params, x, torch, *, kernel_size=3, num_convs=2, pool="max", **arguments):
    """The forward pass of a net without norm, written with torch's functions."""
    nn = torch.nn.functional

    def unit(x, name, stride=1):
        kernel = params[name]["conv"]["kernel"].permute(3, 2, 0, 1)
        groups = x.shape[1] // kernel.shape[1]
        bias = params[name]["conv"]["bias"]
        pad = kernel.shape[-1] // 2
        return nn.relu(nn.conv2d(x, kernel, bias, stride, pad, groups=groups))

    def dense(x, name):
        return x @ params[name]["kernel"] + params[name]["bias"]

    for stage in (1, 2):
        for i in range(1, num_convs + 1):
            stride = 2 if pool == "stride" and i == num_convs else 1
            name = f"stage{stage}_conv{i}"
            if name in params:
                x = unit(x, name, stride)
            else:
                x = unit(unit(x, f"{name}_depthwise", stride), f"{name}_pointwise")
        if pool in ("max", "avg"):
            x = getattr(nn, f"{pool}_pool2d")(x, 2)
    if arguments.get("head") != "dense":
        return dense(x.mean((2, 3)), "head")
    x = x.flatten(1)
    if "dense" in params:
        x = nn.relu(dense(x, "dense"))
    return dense(x, "head")


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_the_twin(case):
    torch = pytest.importorskip("torch")
    images = np.random.RandomState(0).standard_normal((2, 9, 10, 3))
    with jax.enable_x64(True):
        model = create_model(
            "convnet_cifar",
            widths=(4, 6),
            norm="none",
            dtype="float64",
            **CASES[case],
        )
        variables = init_variables(model, (9, 10, 3), (0,))
        params = jax.tree.map(lambda v: v[0].astype("f8") + 0.1, variables["params"])
        ours = jax.jit(lambda x: forward_eval(model, params, {}, x))(images)
    tensors = jax.tree.map(torch.tensor, params)
    theirs = twin(
        tensors, torch.tensor(images.transpose(0, 3, 1, 2)), torch, **CASES[case]
    )
    assert theirs.abs().max() > 0.1
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9, atol=1e-11)
