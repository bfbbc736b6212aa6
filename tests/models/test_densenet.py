"""DenseNet: counts by hand from the paper, what layers keep, wrong arguments."""

import jax
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.models.registry import create_model, variant
from cnnjax.net.initialize import init_variables, num_params

TINY = {"depth": 0, "layers": (2, 1), "growth_rate": 4}


def counts_by_hand(blocks, k, *, bottleneck, stem_width, map_size, num_classes):
    """(parameters, products) of what follows the stem convolution.

    A norm has a scale and a bias a channel; a dense layer is 3x3 to k channels, behind
    1x1 to 4k channels in a bottleneck; a transition is 1x1 and halves the map.
    """
    width, params, products = stem_width, 0, 0
    for block, layers in enumerate(blocks):
        if block:
            kept = width // 2 if bottleneck else width
            params += 2 * width + width * kept
            products += width * kept * map_size**2
            width, map_size = kept, map_size // 2
        for _ in range(layers):
            weights = width * 4 * k + 4 * k * 9 * k if bottleneck else width * 9 * k
            params += weights + 2 * width + (2 * 4 * k if bottleneck else 0)
            products += weights * map_size**2
            width += k
    head = width * num_classes
    return params + 2 * width + head + num_classes, products + head


def test_densenet264_by_hand():
    params, products = counts_by_hand(
        (6, 12, 64, 48),
        32,
        bottleneck=True,
        stem_width=64,
        map_size=56,
        num_classes=1000,
    )
    stem = 7 * 7 * 3 * 64
    entry = variant("densenet264")
    assert entry.num_params == params + stem + 2 * 64
    assert entry.multiply_adds == products + stem * 112**2


# Paper, table 2: millions of parameters, to the digits that it prints.
@pytest.mark.parametrize(
    ("name", "layers", "k", "bottleneck", "printed"),
    [
        ("densenet40_12_cifar", 12, 12, False, 1.0),
        ("densenet100_12_cifar", 32, 12, False, 7.0),
        ("densenet100_24_cifar", 32, 24, False, 27.2),
        ("densenetbc100_12_cifar", 16, 12, True, 0.8),
        ("densenetbc250_24_cifar", 41, 24, True, 15.3),
        ("densenetbc190_40_cifar", 31, 40, True, 25.6),
    ],
)
def test_the_nets_for_cifar_by_hand(name, layers, k, bottleneck, printed):
    stem_width = 2 * k if bottleneck else 16
    params, products = counts_by_hand(
        (layers,) * 3,
        k,
        bottleneck=bottleneck,
        stem_width=stem_width,
        map_size=32,
        num_classes=10,
    )
    stem, entry = 27 * stem_width, variant(name)
    assert entry.num_params == params + stem
    assert entry.multiply_adds == products + stem * 32**2
    assert round(entry.num_params / 1e6, 1) == printed


def one_pass(train, **arguments):
    """Logits and what the layers gave, of a net with a fixed batch."""
    model = create_model("densenet40_12_cifar", **{**TINY, **arguments})
    variables = init_variables(model, (8, 8, 3), (0,))
    variables = jax.tree.map(lambda leaf: leaf[0], variables)
    images = np.random.RandomState(0).standard_normal((2, 8, 8, 3)).astype(np.float32)

    def apply(variables, images):
        return model.apply(
            variables,
            images,
            train=train,
            capture_intermediates=True,
            mutable=["intermediates", "batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        )

    run = jax.jit(apply)
    logits, state = run(variables, images)
    return logits, state["intermediates"]


def test_a_dense_layer_keeps_what_it_was_given():
    _, layers = one_pass(train=False)
    (before,) = layers["stage1_layer1"]["__call__"]
    (after,) = layers["stage1_layer2"]["__call__"]
    assert before.shape == (2, 8, 8, 16 + 4)
    assert after.shape == (2, 8, 8, 16 + 2 * 4)
    np.testing.assert_array_equal(after[..., :20], before)
    assert np.abs(after[..., 20:]).max() > 0
    (halved,) = layers["transition1"]["__call__"]
    assert halved.shape == (2, 4, 4, 24)


def test_compression_is_of_what_a_transition_keeps():
    _, layers = one_pass(train=False, compression=0.3)
    (kept,) = layers["transition1"]["__call__"]
    assert kept.shape[-1] == 7  # floor(0.3 * 24)


def test_dropout_zeroes_what_a_layer_adds_and_nothing_else():
    for rate in (0.0, 0.4):
        _, layers = one_pass(train=True, dropout_rate=rate)
        (stem,) = layers["stem_conv"]["__call__"]
        (result,) = layers["stage1_layer1"]["__call__"]
        np.testing.assert_array_equal(result[..., :16], stem)
        share = (np.asarray(result[..., 16:]) == 0).mean()
        # A share of 512 values, within four standard deviations.
        assert abs(share - rate) <= 4 * np.sqrt(rate * (1 - rate) / 512)
    evaluated, _ = one_pass(train=False)
    with_rate, _ = one_pass(train=False, dropout_rate=0.4)
    np.testing.assert_array_equal(evaluated, with_rate)


def test_a_depth_and_its_layers_are_the_same_net():
    by_depth = create_model("densenetbc100_12_cifar", depth=22)
    by_layers = create_model("densenetbc100_12_cifar", depth=0, layers=(3, 3, 3))
    shape = (32, 32, 3)
    assert num_params(by_depth, shape) == num_params(by_layers, shape)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 41}, r"41 is not 3n \+ 4.*the nearest are 40 and 43"),
        ({"depth": 3}, "the nearest are 7 and 10"),
        ({"bottleneck": True, "depth": 12}, r"6n \+ 4.*with.*are 10 and 16"),
        ({"layers": (2, 2)}, "exactly one of config.model.layers"),
        ({"depth": 0}, "exactly one of config.model.layers"),
        ({"depth": 0, "layers": (2, 0)}, "each needs at least 1"),
        ({"growth_rate": 0}, "at least 1 channel"),
        ({"stem_width": -1}, "at least 1 channel"),
        ({"compression": 0.0}, r"compression 0.0 must lie in \(0, 1\]"),
        ({"compression": 1.5}, r"compression 1.5 must lie in \(0, 1\]"),
        ({"stem": "cifr"}, "did you mean 'cifar'"),
    ],
)
def test_wrong_arguments(changes, message):
    with pytest.raises(UserError, match=message):
        num_params(create_model("densenet40_12_cifar", **changes), (32, 32, 3))


def test_images_that_vanish_name_the_layer():
    with pytest.raises(UserError, match=r"transition\d.*nothing is left"):
        num_params(create_model("densenet121"), (16, 16, 3))
    with pytest.raises(UserError, match=r"nothing is left"):
        num_params(create_model("densenet40_12_cifar"), (3, 3, 3))
