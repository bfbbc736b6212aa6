"""Ordinary Linen layers in our nets: initial values, forward pass, both forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from cnnjax.analysis.features import features
from cnnjax.errors import UserError
from cnnjax.layers.act import ACTIVATIONS
from cnnjax.layers.conv_norm_act import ConvNormAct
from cnnjax.layers.norm import NORMS, Norm, NormKind
from cnnjax.models.blocks.residual import ResidualBlock
from cnnjax.models.registry import VARIANTS, create_model
from cnnjax.models.variant import Variant
from cnnjax.net.forward import forward_eval, forward_train
from cnnjax.net.initialize import (
    KernelInit,
    abstract_variables,
    draw_variables,
    init_variables,
)
from cnnjax.net.stacked import stacks_of_net, unstack
from tests import ordinary
from tests.slow import slow

SHAPE = (8, 8, 2)
SMALL = {"depth": 14, "widths": (4, 6), "num_classes": 3}


def of_features(make):
    """A norm that wants to know its channels, which only the call knows."""

    class Sized(nn.Module):
        scale_init: object = nn.initializers.ones

        @nn.compact
        def __call__(self, x):
            return make(x.shape[-1], scale_init=self.scale_init, name="own")(x)

    return lambda norm, name, scale_init: Sized(scale_init, name=name)


def flax_norm(cls, **arguments):
    return lambda norm, name, scale_init: cls(
        epsilon=norm.epsilon, scale_init=scale_init, name=name, **arguments
    )


KINDS = {
    "rms": NormKind(of_features(ordinary.RMSNorm), has_bias=False),
    "gain": NormKind(lambda norm, name, _: ordinary.Gain(name=name), has_bias=False),
    "flax_rms": NormKind(flax_norm(nn.RMSNorm), has_bias=False),
    "flax_layer": NormKind(flax_norm(nn.LayerNorm), has_bias=True),
    "flax_group": NormKind(flax_norm(nn.GroupNorm, num_groups=2), has_bias=True),
    "flax_batch": NormKind(flax_norm(nn.BatchNorm, momentum=0.9), has_bias=True),
}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    for name, kind in KINDS.items():
        monkeypatch.setitem(NORMS, name, kind)
    monkeypatch.setitem(ACTIVATIONS, "prelu", ordinary.PReLU)
    half = functools.partial(ordinary.PReLU, start=0.5)
    monkeypatch.setitem(ACTIVATIONS, "prelu_half", half)
    monkeypatch.setitem(ACTIVATIONS, "prelu_one", ordinary.PReLU(start=1.0))


def images(num=2):
    return np.random.RandomState(0).randn(num, *SHAPE).astype(np.float32)


def one(tree):
    return jax.tree.map(lambda leaf: leaf[0], tree)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_plain_net_starts_as_flax_starts_it():
    net = ordinary.Net()
    drawn = init_variables(net, SHAPE, (3, 0))
    for place, seed in enumerate((3, 0)):
        theirs = net.init(jax.random.key(seed), images(1), train=False)
        assert_same(jax.tree.map(lambda v, i=place: v[i], drawn), dict(theirs))


def test_types_and_metadata_of_others_are_kept():
    class Boxed(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            init = nn.with_partitioning(nn.initializers.ones, ("in", "out"))
            kernel = self.param("kernel", init, (x.shape[-1], 3), jnp.bfloat16)
            steps = self.variable("counts", "steps", jnp.zeros, (), jnp.int32)
            return x.mean((1, 2)) @ kernel + steps.value

    drawn = init_variables(Boxed(), SHAPE, (0, 1))
    assert drawn["params"]["kernel"].dtype == jnp.bfloat16
    assert drawn["params"]["kernel"].shape == (2, 2, 3)
    assert drawn["counts"]["steps"].dtype == np.int32


# A parameter that is drawn, one made in `setup`, statistics.
@pytest.mark.slow
@pytest.mark.parametrize("kind", [slow("gain"), slow("rms"), "flax_batch"])
def test_scanned_blocks_start_and_compute_as_separate_ones(kind):
    nets = [
        create_model(
            "resnet20_cifar", norm=kind, act="prelu", scan_blocks=scan, **SMALL
        )
        for scan in (False, True)
    ]
    written, scanned = (init_variables(net, SHAPE, (0, 1)) for net in nets)
    stacks = stacks_of_net(nets[1], SHAPE)
    assert_same(unstack(scanned, stacks, axis=1), written)
    if kind == "gain":  # drawn: no two blocks alike
        gains = scanned["params"]["stage1_blocks"]["norm1"]["gain"]
        assert len(np.unique(gains)) == gains.size == 4
    outputs = []
    for net, variables in zip(nets, map(one, (written, scanned)), strict=True):
        params = variables.pop("params")
        logits, _, state = forward_train(
            net, params, variables, images(), jax.random.key(0)
        )
        outputs.append((logits, unstack(state, stacks)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), *outputs
    )
    # Features by name come from blocks that are stored separately.
    names = ["stage2_block2", "stage2_block2/PReLU_0"]
    seen = features(nets[1], one(scanned), images(), names)
    assert list(seen) == names[::-1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_norm_is_that_layer_applied_by_hand(kind):
    class Alone(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            return Norm(kind)(name="norm")(x, train=train)

    x = jnp.asarray(3 * images()[..., :1] + np.arange(4.0), jnp.float32)
    variables = Alone().init(jax.random.key(0), x, train=False)
    theirs = Norm(kind).module()
    own = {c: tree["norm"] for c, tree in variables.items()}
    for train in (False, True):
        ours, moved = Alone().apply(variables, x, train=train, mutable=["batch_stats"])
        call = {"train": train} if kind == "gain" else {}
        if kind == "flax_batch":
            call = {"use_running_average": not train}
        y, expected = theirs.apply(own, x, **call, mutable=["batch_stats"])
        np.testing.assert_array_equal(ours, y)
        if kind == "flax_batch":
            assert_same(moved["batch_stats"]["norm"], expected["batch_stats"])


def test_against_torch():
    torch = pytest.importorskip("torch", reason="compares with torch")
    x = images()
    norm = Norm("rms").module()
    variables = {"params": {"own": {"weight": jnp.array([0.5, 2.0])}}}
    theirs = torch.nn.RMSNorm(2, eps=1e-6)
    theirs.weight.data = torch.tensor([0.5, 2.0])
    expected = theirs(torch.tensor(x)).detach()
    np.testing.assert_allclose(norm.apply(variables, x), expected, atol=1e-5)

    class Act(nn.Module):
        name_of_act: str

        @nn.compact
        def __call__(self, x):
            return create_model("mlp", act=self.name_of_act).act(x)

    for name, start in (("prelu", 0.25), ("prelu_half", 0.5), ("prelu_one", 1.0)):
        y, variables = Act(name).init_with_output(jax.random.key(0), x)
        expected = torch.nn.PReLU(init=start)(torch.tensor(x)).detach()
        np.testing.assert_allclose(y, expected, atol=1e-6)
        assert variables["params"]["PReLU_0"]["slope"].shape == ()


def test_every_place_has_its_own_activation_module():
    model = create_model("mlp", widths=(5, 5), act="prelu_one", num_classes=3)
    params = init_variables(model, SHAPE, (0,))["params"]
    assert {"PReLU_0", "PReLU_1"} <= params.keys()
    by_class = create_model("mlp", widths=(5, 5), act=ordinary.PReLU)
    assert {"PReLU_0", "PReLU_1"} <= init_variables(by_class, SHAPE, (0,))[
        "params"
    ].keys()


@pytest.mark.parametrize("block", ["unit", "residual"])
def test_a_convolution_of_ones_own_in_our_blocks(block):
    parts = {
        "conv": ordinary.StandardizedConv,
        "norm": Norm("flax_layer"),
        "act": nn.relu,
    }
    if block == "unit":
        module = ConvNormAct(4, 3, 2, 1, **parts)
        layers = {"conv": (4, 3, 2, 1)}
    else:
        module = ResidualBlock(4, 2, False, shortcut="B", **parts)
        layers = {"conv1": (4, 3, 2, 1), "conv2": (4, 3, 1, 1)}
    x = images()
    variables = one(init_variables(module, SHAPE, (0,)))
    y = module.apply(variables, x, train=True)
    assert y.shape == (2, 4, 4, 4)
    # The first convolution by torch, with weights standardised there.
    torch = pytest.importorskip("torch", reason="compares with torch")
    name, (_, _, strides, padding) = next(iter(layers.items()))
    weight = torch.tensor(variables["params"][name]["kernel"]).permute(3, 2, 0, 1)
    mean = weight.mean((1, 2, 3), keepdim=True)
    std = torch.sqrt(weight.var((1, 2, 3), keepdim=True, unbiased=False) + 1e-10)
    expected = torch.nn.functional.conv2d(
        torch.tensor(x).permute(0, 3, 1, 2),
        (weight - mean) / std,
        None,
        strides,
        padding,
    ).permute(0, 2, 3, 1)
    ours = features(module, variables, x, [name])[name]
    np.testing.assert_allclose(ours, expected, atol=1e-4)


# -- section init ----------------------------------------------------------------------


def test_section_init_draws_kernels_of_others_too():
    declared = abstract_variables(ordinary.Net(), SHAPE)
    changed = KernelInit("he_normal", 2.0).applied(declared)
    own = flatten_dict(draw_variables(declared, (0,))["params"], sep="/")
    new = flatten_dict(draw_variables(changed, (0,))["params"], sep="/")
    doubled = KernelInit("", 2.0).applied(declared)
    twice = flatten_dict(draw_variables(doubled, (0,))["params"], sep="/")
    for path, value in own.items():
        kernel = path.endswith("kernel")
        np.testing.assert_allclose(twice[path], value * (2 if kernel else 1), rtol=1e-6)
        assert kernel != np.array_equal(new[path], value)
    # 2 * sqrt(2 / fan in), of 18 inputs, over 72 values.
    assert 0.5 < new["first/kernel"].std() / (2 * np.sqrt(2 / 18)) < 1.5


def test_section_init_passes_over_no_weights():
    class Named(nn.Module):
        @nn.compact
        def __call__(self, images, *, train):
            return images.mean((1, 2)) @ self.param("weight", ordinary.normal, (2, 3))

    declared = abstract_variables(Named(), SHAPE)
    assert KernelInit("", 1.0).applied(declared) is declared
    with pytest.raises(UserError, match=r"named 'kernel'.*weight of shape \(2, 3\)"):
        KernelInit("he_normal", 1.0).applied(declared)


# -- refusals --------------------------------------------------------------------------


def test_initial_values_that_depend_on_images_are_refused():
    class OfData(nn.Module):
        @nn.compact
        def __call__(self, images, *, train):
            mean = self.param("mean", lambda key: images.mean())
            return jnp.zeros((len(images), 3)) + mean

    with pytest.raises(UserError, match="OfData computes initial values from images"):
        init_variables(OfData(), SHAPE, (0,))


def test_sowing_into_a_collection_that_nothing_reads_is_refused():
    class Sowing(nn.Module):
        collection: str

        @nn.compact
        def __call__(self, images, *, train):
            self.sow(self.collection, "mean", images.mean())
            return nn.Dense(3, kernel_init=ordinary.normal)(images.mean((1, 2)))

    with pytest.raises(UserError, match="sows losses/mean"):
        init_variables(Sowing("losses"), SHAPE, (0,))
    assert init_variables(Sowing("intermediates"), SHAPE, (0,)).keys() == {"params"}


class NoTrain(nn.Module):
    num_classes: int

    def __call__(self, images):
        return images


@pytest.mark.parametrize(
    ("net", "choices", "words"),
    [
        (ordinary.Net, {"norm": "group"}, "no field 'norm'.*kind 'batch'"),
        (ordinary.Net, {"act": "silu"}, "no field 'act'.*relu"),
        (ordinary.Net, {"dtype": "bfloat16"}, "no field 'dtype'.*float32"),
        (NoTrain, {}, r"__call__\(self, images, \*, train\)"),
    ],
)
def test_what_a_net_would_not_notice_is_refused(monkeypatch, net, choices, words):
    entry = Variant(net, SHAPE, 0, 0, "a test", num_classes=3)
    monkeypatch.setitem(VARIANTS, "mine", entry)
    with pytest.raises(UserError, match=words):
        create_model("mine", **choices)


def test_a_plain_net_by_name(monkeypatch):
    entry = Variant(ordinary.Net, SHAPE, 0, 0, "a test", num_classes=3)
    monkeypatch.setitem(VARIANTS, "mine", entry)
    net = create_model("mine", num_classes=5, width=2)
    assert net == ordinary.Net(num_classes=5, width=2)
    variables = one(init_variables(net, SHAPE, (0,)))
    params = variables.pop("params")
    expected = net.apply({"params": params, **variables}, images(), train=False)
    np.testing.assert_array_equal(
        forward_eval(net, params, variables, images()), expected
    )
