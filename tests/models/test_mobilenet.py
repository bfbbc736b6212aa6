"""MobileNet V1, V2, V3: counts by hand, what the blocks do, wrong arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.layers.act import hard_swish, relu6
from cnnjax.layers.functional.channels import round_channels
from cnnjax.models.mobilenet_v3 import early_activation
from cnnjax.models.registry import create_model, variant
from cnnjax.net.initialize import init_variables, num_params

# Howard et al. 2017, table 1: channels and stride behind each 3x3, at width 1.
BODY_V1 = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
BODY_V1 += 5 * [(512, 1)] + [(1024, 2), (1024, 1)]


def mobilenet_by_hand(width, separable):
    """(parameters, products) at 224 x 224 and 1,000 classes."""
    channels, size = int(32 * width), 112
    weights = 27 * channels
    params, products = weights + 2 * channels, weights * size**2
    for features, stride in BODY_V1:
        features, size = int(features * width), size // stride
        if separable:
            weights = 9 * channels + channels * features
            params += weights + 2 * channels + 2 * features
        else:
            weights = 9 * channels * features
            params += weights + 2 * features
        products += weights * size**2
        channels = features
    return params + channels * 1000 + 1000, products + channels * 1000


# The paper's tables 4 and 6: millions of multiply-adds and of parameters.
@pytest.mark.parametrize(
    ("name", "width", "printed", "printed_params"),
    [
        ("mobilenet_v1", 1.0, 569, 4.2),
        ("mobilenet_v1_075", 0.75, 325, 2.6),
        ("mobilenet_v1_050", 0.5, 149, 1.3),
        ("mobilenet_v1_025", 0.25, 41, 0.5),
    ],
)
def test_the_widths_of_the_first_one(name, width, printed, printed_params):
    entry = variant(name)
    assert (entry.num_params, entry.multiply_adds) == mobilenet_by_hand(width, True)
    assert round(entry.multiply_adds / 1e6) == printed
    assert round(entry.num_params / 1e6, 1) == printed_params


def test_the_twin_with_full_convolutions():
    entry = variant("mobilenet_v1_full")
    assert (entry.num_params, entry.multiply_adds) == mobilenet_by_hand(1.0, False)
    assert round(entry.num_params / 1e6, 1) == 29.3
    # The paper's 4866 M are the convolutions; its 569 M of table 4 has the head too.
    assert round((entry.multiply_adds - 1_024_000) / 1e6) == 4866


@pytest.mark.parametrize(
    ("channels", "rounded"),
    [(1, 8), (8, 8), (11.9, 16), (12, 16), (18, 24), (19.9, 24), (30, 32), (90, 88)],
)
def test_widths_are_multiples_of_8_and_lose_a_tenth_at_most(channels, rounded):
    assert round_channels(channels) == rounded


@pytest.mark.parametrize("divisor", [4, 8])
def test_widths_are_rounded_as_in_torchvision(divisor):
    reason = "compares with torchvision: extra `peers`"
    # Declares what torchvision misses beside a torch for CPUs.
    pytest.importorskip("tests.peers", reason=reason)
    utils = pytest.importorskip("torchvision.models._utils", reason=reason)
    for channels in np.arange(0.25, 200, 0.25):
        theirs = utils._make_divisible(channels, divisor)
        assert round_channels(channels, divisor) == theirs


def one_pass(name, **arguments):
    """What each module of a small net gave, with its parameters."""
    model = create_model(name, **arguments)
    variables = init_variables(model, (32, 32, 3), (0,))
    variables = jax.tree.map(lambda leaf: leaf[0], variables)
    images = np.random.RandomState(0).standard_normal((2, 32, 32, 3))

    def apply(variables, images):
        return model.apply(
            variables,
            images,
            train=False,
            capture_intermediates=True,
            mutable=["intermediates"],
        )

    run = jax.jit(apply)
    _, state = run(variables, images.astype(np.float32))
    return state["intermediates"]


def result(tree, *path):
    for key in path:
        tree = tree[key]
    return np.asarray(tree["__call__"][0])


def test_bottlenecks_are_linear_and_added():
    given = one_pass("mobilenet_v2", width=0.25)
    projected = result(given, "stage3_block2", "project")
    assert projected.min() < 0
    before = result(given, "stage3_block1")
    after = result(given, "stage3_block2")
    np.testing.assert_allclose(after, before + projected, rtol=1e-5, atol=1e-5)
    # Where the stride or the width changes, nothing is added.
    np.testing.assert_array_equal(
        result(given, "stage3_block1"), result(given, "stage3_block1", "project")
    )


def test_the_ablations_of_the_second_one():
    given = one_pass("mobilenet_v2", width=0.25, linear=False, residual=False)
    assert result(given, "stage3_block2", "project").min() == 0
    np.testing.assert_array_equal(
        result(given, "stage3_block2"), result(given, "stage3_block2", "project")
    )


def test_the_two_activations_of_the_third_one():
    given = one_pass("mobilenet_v3_small", width=0.25)
    # Hard swish goes down to -3/8, ReLU not below 0.
    late = [("stem",), ("stage3_block1", "depthwise"), ("last",)]
    assert all(-0.375 <= result(given, *path).min() < 0 for path in late)
    assert result(given, "stage2_block1", "depthwise").min() == 0


def test_the_early_activation_follows_a_swapped_one():
    assert early_activation("auto", hard_swish) is jax.nn.relu
    assert early_activation("auto", jnp.tanh) is jnp.tanh
    assert early_activation("relu6", jnp.tanh) is relu6


def test_squeeze_and_excitation_can_be_left_out():
    model = create_model("mobilenet_v3_small", squeeze_excite=False)
    # Table 2: a quarter of these channels, rounded to 8, between two biased layers.
    squeezed = [(16, 8), (96, 24), (240, 64), (240, 64), (120, 32), (144, 40)]
    squeezed += [(288, 72), (576, 144), (576, 144)]
    fewer = sum(2 * wide * few + wide + few for wide, few in squeezed)
    total = variant("mobilenet_v3_small").num_params
    assert num_params(model, (32, 32, 3)) == total - fewer


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("mobilenet_v1", {"width": 0.0}, "width must be positive"),
        ("mobilenet_v2", {"width": -1.0}, "width must be positive"),
        ("mobilenet_v3_large", {"size": "larg"}, "did you mean 'large'"),
        ("mobilenet_v3_large", {"early_act": "rel"}, "did you mean 'relu'"),
    ],
)
def test_wrong_arguments(name, changes, message):
    with pytest.raises(UserError, match=message):
        num_params(create_model(name, **changes), (32, 32, 3))
