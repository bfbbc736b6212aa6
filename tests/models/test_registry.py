"""Properties of every entry of the list; a new entry is tested without a change here.

What compiles is tested on the smallest entry of each class, and on every entry with
`-m slow`; what is only traced, on every set of choices or on every entry.
"""

import importlib

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from cnnjax.errors import UserError
from cnnjax.layers.norm import Norm
from cnnjax.models.registry import (
    ALIASES,
    FAMILIES,
    VARIANTS,
    create_model,
    list_models,
    variant,
)
from cnnjax.net.forward import forward_eval, forward_train
from cnnjax.net.initialize import abstract_variables, num_params
from cnnjax.training.loss import cross_entropy
from tests.models.entries import (
    ARCHITECTURES,
    DEEP,
    FEW,
    NUM_IMAGES,
    SHALLOW,
    images_of,
    one_seed,
    smallest_shape,
)
from tests.slow import slow_but

# Long to compile, and compared with torch or timm in tests/interop all the same.
COMPARED_ELSEWHERE = {"densenetbc100_12_cifar", "googlenet_cifar", "mobilenet_v3_small"}

# The published norm, and batch norm, which has statistics to move.
CASES = [
    pytest.param((name, norm, shallow), id=f"{name}-{norm}-{depth}", marks=marks)
    for name in list_models()
    for norm in dict.fromkeys([variant(name).norm["kind"], "batch"])
    for shallow, depth, marks in (
        (
            SHALLOW.get(name, {}),
            "quick",
            []
            if name in FEW and name not in COMPARED_ELSEWHERE
            else [pytest.mark.slow],
        ),
        ({"scan_blocks": True} if name in DEEP else {}, "whole", [pytest.mark.slow]),
    )
    if name in ARCHITECTURES or depth == "whole"
]


# With batch norm the gradient of a plain net grows by about 1.2 a layer at the start
# (Yang et al. 2019, arXiv 1902.08129), and 1.2 ** 1202 is no float32.
EXPLODES = {"plain1202_cifar"}


@pytest.fixture(scope="module", params=CASES)
def trained_once(request):
    """A net, and what one pass in training mode gave."""
    name, norm, shallow = request.param
    model = create_model(name, norm=norm, **shallow)
    shape = smallest_shape(model, variant(name).input_shape[-1])
    variables = one_seed(model, shape)
    params = variables.pop("params")
    targets = np.eye(variant(name).num_classes, dtype=np.float32)[:NUM_IMAGES]

    def loss(params, images):
        logits, auxiliary, state = forward_train(
            model, params, variables, images, jax.random.key(0)
        )
        heads = (logits, *auxiliary)
        total = sum(cross_entropy(head, targets).mean() for head in heads)
        return total, (logits, state)

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, (logits, state)), grads = run(params, images_of(shape))
    return name, model, shape, params, variables, (value, logits, state, grads)


def test_names_are_listed_by_pattern():
    assert list_models("resnet*_cifar") == [
        f"resnet{depth}_cifar" for depth in (20, 32, 44, 56, 110, 1202)
    ]
    assert set(list_models("mlp")) < set(list_models())


def test_names_and_aliases_are_unambiguous():
    tables = [importlib.import_module(f"cnnjax.models.{f}").VARIANTS for f in FAMILIES]
    assert sum(map(len, tables)) == len(VARIANTS)
    assert not ALIASES.keys() & VARIANTS.keys()
    assert len(ALIASES) == sum(len(v.aliases) for v in VARIANTS.values())
    for alias, name in ALIASES.items():
        assert variant(alias) is variant(name)
        assert list_models(alias) == [name]


def test_forward_and_backward_are_finite(trained_once):
    name, *_, (value, logits, _, grads) = trained_once
    assert logits.shape == (NUM_IMAGES, variant(name).num_classes)
    assert logits.dtype == np.float32
    assert np.isfinite(value)
    if name in EXPLODES:
        assert not all(np.isfinite(grad).all() for grad in jax.tree.leaves(grads))
        return
    for path, grad in flatten_dict(grads, sep="/").items():
        assert np.isfinite(grad).all(), path
        # The bias of a convolution in front of a batch norm has none.
        if not path.endswith("/bias"):
            assert np.abs(grad).max() > 0, f"{path} has no influence on the loss"


def test_statistics_move_in_training_and_only_there(trained_once):
    name, model, shape, params, before, (_, _, state, _) = trained_once
    flat, moved = flatten_dict(before, sep="/"), flatten_dict(state, sep="/")
    assert flat.keys() == moved.keys()
    assert all(np.abs(moved[path] - flat[path]).max() > 0 for path in flat)

    def evaluate(variables, images):
        return model.apply(variables, images, train=False, mutable=list(state))

    jaxpr = jax.make_jaxpr(evaluate)({"params": params, **state}, images_of(shape))
    assert jaxpr.out_avals[0].shape == (NUM_IMAGES, variant(name).num_classes)
    # What comes back beside the logits are the very variables that went in.
    inputs = set(jaxpr.jaxpr.invars)
    assert all(out in inputs for out in jaxpr.jaxpr.outvars[1:])


def test_an_image_is_evaluated_alone(trained_once):
    """Its logits do not depend on the other images of the batch."""
    name, model, shape, params, _, (_, _, state, _) = trained_once
    evaluate = jax.jit(
        lambda params, images: forward_eval(model, params, state, images)
    )
    images, others = images_of(shape), images_of(shape, seed=1)
    others[1] = images[1]
    logits, among_others = evaluate(params, images), evaluate(params, others)
    np.testing.assert_array_equal(logits[1], among_others[1])
    if not variant(name).defaults().get("residual", True):
        return  # deep plain nets lose the signal while statistics are near their start
    scale = np.abs(logits).max()
    assert np.abs(logits[0] - among_others[0]).max() > 1e-4 * scale


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


def test_a_norm_by_name_keeps_the_settings_of_the_entry():
    assert create_model("googlenet", norm="layer").norm.epsilon == 1e-3
    assert create_model("resnet50", norm="group").norm.num_groups is None  # by layer
    assert create_model("resnet50_gn", norm="group").norm.num_groups == 32
    own = Norm("group", channels_per_group=4)
    assert create_model("resnet50", norm=own).norm is own


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("squeeze_excite", "false"),
        ("residual", 0),
        ("widths", 8),
        ("widths", (8, 16, 32, "a")),
        ("num_blocks", (1, 1.5, 1, 1)),
        ("dropout_rate", float("nan")),
        ("groups", True),
        ("stem", 7),
    ],
)
def test_values_of_another_type_are_refused(argument, value):
    with pytest.raises(UserError, match=f"config.model.{argument} takes a value like"):
        create_model("resnet18", **{argument: value})


def test_lists_and_whole_numbers_are_taken_for_what_they_mean():
    model = create_model("resnet18", widths=[8, 16, 32, 64], dropout_rate=0, groups=1.0)
    assert hash(model) == hash(create_model("resnet18", widths=(8, 16, 32, 64)))


def test_the_number_of_classes_is_the_width_of_the_head():
    model = create_model("mlp", num_classes=7)
    assert num_params(model, (28, 28, 1)) == 269_322 - 3 * 257


@pytest.mark.parametrize("name", slow_but({"resnet20_cifar"}, list_models()))
def test_forward_mode(name):
    """Hessian-vector products can be traced, as a user gets the net."""
    model = create_model(name)
    shape = smallest_shape(model, variant(name).input_shape[-1])
    variables = dict(abstract_variables(model, shape))
    params = variables.pop("params")
    images = jax.ShapeDtypeStruct((NUM_IMAGES, *shape), np.float32)

    def product(params, variables, images):
        def loss(params):
            key = jax.random.key(0)
            logits, *_ = forward_train(model, params, variables, images, key)
            return (logits**2).mean()

        return jax.jvp(jax.grad(loss), (params,), (params,))[1]

    found = jax.eval_shape(product, params, variables, images)
    assert jax.tree.map(lambda leaf: leaf.shape, found) == jax.tree.map(
        lambda leaf: leaf.shape, params
    )
