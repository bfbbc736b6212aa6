"""Properties of every entry of the list; a new entry is tested without a change here.

What compiles is tested on the smallest entry of each architecture.
"""

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from cnnjax.errors import UserError
from cnnjax.layers.act import ACTIVATIONS
from cnnjax.layers.norm import NORMS, make_norm
from cnnjax.models import create_model, list_models, variant
from cnnjax.models.forward import forward_eval, forward_train
from cnnjax.models.initialize import init_variables, num_params
from cnnjax.train.loss import cross_entropy

SMALLEST = {}
for _name in list_models():
    _other = SMALLEST.setdefault(variant(_name).build, _name)
    if variant(_name).num_params < variant(_other).num_params:
        SMALLEST[variant(_name).build] = _name
REPRESENTATIVES = list(SMALLEST.values())

# Arguments that leave a net no nonlinearity beside its norm and activation.
WITHOUT_MAX_POOL = {"lenet5": {"pool": "avg"}}
# Hidden layers that are vectors: a statistic of one channel would be of one value.
NO_INSTANCE_NORM = {"mlp", "lenet5"}
# Their counts follow from those of the shallow ones, by hand below.
SLOW_TO_TRACE = {"resnet1202_cifar", "plain1202_cifar"}
NUM_IMAGES = 4


def images_for(name, seed=0):
    shape = (NUM_IMAGES, *variant(name).input_shape)
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def one_seed(model, name, seed=0):
    variables = init_variables(model, variant(name).input_shape, (seed,))
    return jax.tree.map(lambda leaf: leaf[0], variables)


def norm_of(kind):
    return make_norm(kind, num_groups=2 if kind == "group" else None)


@pytest.fixture(scope="module", params=REPRESENTATIVES)
def trained_once(request):
    """A net, and what one pass in training mode gave."""
    name = request.param
    model = create_model(name)
    variables = one_seed(model, name)
    params = variables.pop("params")
    targets = np.eye(10, dtype=np.float32)[:NUM_IMAGES]

    def loss(params, images):
        logits, state = forward_train(
            model, params, variables, images, jax.random.key(0)
        )
        return cross_entropy(logits, targets).mean(), (logits, state)

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, (logits, state)), grads = run(params, images_for(name))
    return name, model, params, variables, (value, logits, state, grads)


def test_names_are_listed_by_pattern():
    assert list_models("resnet*_cifar") == [
        f"resnet{depth}_cifar" for depth in (20, 32, 44, 56, 110, 1202)
    ]
    assert set(list_models("mlp")) < set(list_models())


@pytest.mark.parametrize("name", [n for n in list_models() if n not in SLOW_TO_TRACE])
def test_number_of_parameters_is_the_stated_one(name):
    entry = variant(name)
    assert num_params(create_model(name), entry.input_shape) == entry.num_params


# Public figures, typed here again: the table in the code must not be its own witness.
@pytest.mark.parametrize(
    ("depth", "count"),
    [
        (20, 269_722),
        (32, 464_154),
        (44, 658_586),
        (56, 853_018),
        (110, 1_727_962),
        (1202, 19_421_274),
    ],
)
def test_published_counts_of_the_cifar_nets(depth, count):
    assert variant(f"resnet{depth}_cifar").num_params == count
    assert variant(f"plain{depth}_cifar").num_params == count
    # By hand: two convolutions and two norms (scale, bias) in each of n blocks a stage.
    n = (depth - 2) // 6
    total = 3 * 9 * 16 + 2 * 16 + 64 * 10 + 10
    for before, width in ((16, 16), (16, 32), (32, 64)):
        total += (
            before * 9 * width + (2 * n - 1) * width * 9 * width + 2 * n * 2 * width
        )
    assert total == count


def test_forward_and_backward_are_finite(trained_once):
    *_, (value, logits, _, grads) = trained_once
    assert logits.shape == (NUM_IMAGES, 10)
    assert logits.dtype == np.float32
    assert np.isfinite(value)
    for path, grad in flatten_dict(grads, sep="/").items():
        assert np.isfinite(grad).all(), path
        assert np.abs(grad).max() > 0, f"{path} has no influence on the loss"


def test_statistics_move_in_training_and_only_there(trained_once):
    name, model, params, before, (_, _, state, _) = trained_once
    flat = flatten_dict(before["batch_stats"], sep="/")
    moved = flatten_dict(state["batch_stats"], sep="/")
    assert flat.keys() == moved.keys()
    assert all(np.abs(moved[path] - flat[path]).max() > 0 for path in flat)

    def evaluate(variables, images):
        return model.apply(variables, images, train=False, mutable=["batch_stats"])

    _, after = jax.jit(evaluate)({"params": params, **state}, images_for(name))
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_an_image_is_evaluated_alone(trained_once):
    """Its logits do not depend on the other images of the batch."""
    name, model, params, _, (_, _, state, _) = trained_once
    evaluate = jax.jit(lambda images: forward_eval(model, params, state, images))
    images, others = images_for(name), images_for(name, seed=1)
    others[1] = images[1]
    logits, among_others = evaluate(images), evaluate(others)
    np.testing.assert_array_equal(logits[1], among_others[1])
    assert np.abs(logits[0] - among_others[0]).max() > 1e-3


def calls(model, name):
    """Path -> class of every module called in an evaluation; nothing is computed."""
    seen = {}

    def note(call, args, kwargs, context):
        if context.method_name == "__call__":
            seen["/".join(context.module.path)] = type(context.module).__name__
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        variables = jax.eval_shape(
            lambda key, x: model.init(key, x, train=False),
            jax.random.key(0),
            images_for(name),
        )
    return seen, variables


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_the_norm_is_taken_everywhere(name, kind):
    model = create_model(name, norm=norm_of(kind))
    if kind == "instance" and name in NO_INSTANCE_NORM:
        with pytest.raises(UserError, match="single value"):
            calls(model, name)
        return
    seen, variables = calls(model, name)
    reference, _ = calls(create_model(name), name)
    places = {path for path, module in reference.items() if module == "BatchNorm"}
    assert places
    wanted = type(norm_of(kind)()).__name__
    assert {seen[path] for path in places} == {wanted}
    assert seen.keys() == reference.keys()
    assert [m for p, m in seen.items() if p not in places and "Norm" in m] == []

    leaves = flatten_dict(variables["params"], sep="/")
    scales = {path.rpartition("/")[0] for path in leaves if path.endswith("/scale")}
    assert scales == (places if NORMS[kind].has_bias else set())
    assert ("batch_stats" in variables) == (kind == "batch")
    # A convolution or dense layer has a bias exactly where no norm after it has one.
    biases = {path.rpartition("/")[0] for path in leaves if path.endswith("/bias")}
    kernels = {path.rpartition("/")[0] for path in leaves if path.endswith("/kernel")}
    heads = {path for path in kernels if path.endswith("head")}
    assert biases - places == (heads if NORMS[kind].has_bias else kernels)


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_the_activation_is_taken_everywhere(name):
    """Without norm and with the identity for activation, nothing nonlinear is left."""
    arguments = WITHOUT_MAX_POOL.get(name, {})
    model = create_model(name, norm="none", act="identity", **arguments)
    params = one_seed(model, name)["params"]
    run = jax.jit(lambda images: forward_eval(model, params, {}, images))
    x, y = images_for(name), images_for(name, seed=1)
    zero = run(np.zeros_like(x))
    together, apart = run(2 * x - 3 * y), 2 * run(x) - 3 * run(y) + 2 * zero
    # Rounding of float32 through 20 layers; a stray relu gives an error near 1.
    scale = np.abs(together).max()
    np.testing.assert_allclose(together / scale, apart / scale, atol=1e-4)


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_every_activation_is_called_where_relu_is(name):
    counts = {"relu": 0, "tanh": 0}

    def counting(kind):
        def act(x):
            counts[kind] += 1
            return ACTIVATIONS[kind](x)

        return act

    for kind in counts:
        calls(create_model(name).clone(act=counting(kind)), name)
    assert counts["relu"] == counts["tanh"] >= 2


def test_wrong_choices_are_named():
    with pytest.raises(UserError, match="did you mean 'resnet20_cifar'"):
        create_model("resnet20_cifa")
    with pytest.raises(UserError, match=r"did you mean 'depth'.*config.model.dept"):
        create_model("resnet20_cifar", dept=20)
    with pytest.raises(UserError, match="did you mean 'relu'"):
        create_model("mlp", act="rlu")
    with pytest.raises(UserError, match="did you mean 'batch'"):
        create_model("mlp", norm="bath")
    with pytest.raises(UserError, match=r"did you mean 'float32'.*config.train.dtype"):
        create_model("mlp", dtype="float23")
    with pytest.raises(UserError, match="JAX_ENABLE_X64=1"):
        create_model("mlp", dtype="float64")
    with pytest.raises(UserError, match="at least 2 classes, not 1"):
        create_model("mlp", num_classes=1)


def test_the_number_of_classes_is_the_width_of_the_head():
    model = create_model("mlp", num_classes=7)
    assert num_params(model, (28, 28, 1)) == 269_834 - 3 * 257
