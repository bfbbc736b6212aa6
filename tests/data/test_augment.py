"""Augmentation: what comes out, how often, and that switches do not disturb others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data.augment import OPERATIONS, OPTIONS, affine, make_augment
from cnnjax.data.augment.given import STREAMS
from cnnjax.data.standardize import CONSTANTS, STANDARDIZE, measure
from cnnjax.errors import UserError
from configs import base
from tests.slow import slow

KEY = jax.random.key(3)
SHAPE = (8, 8, 3)
AXES = np.diag([0.2, 0.02, 0.01]).astype(np.float32)
DEFAULTS = base.get_config().augment
OFF = {key: value for key, value in DEFAULTS.items() if key != "standardize"}
# One setting that is on, for each operation.
ON = {
    "crop_pad": 2,
    "flip": True,
    "cutout": 3,
    "mixup_alpha": 0.4,
    "flip_vertical": True,
    "resized_crop": 0.3,
    "rotation": 20.0,
    "translation": 0.3,
    "scale": 0.2,
    "shear": 10.0,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
    "grey": 0.5,
    "noise": 0.1,
    "pca_colour": 0.1,
    "erase": 0.5,
    "cutmix_alpha": 1.0,
    "randaugment": 1,
}


def images_of(num, shape=SHAPE, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (num, *shape), dtype=np.uint8)


def build(images, standardize="none", num_classes=10, **amounts):
    return make_augment(
        measure(standardize, images),
        image_shape=images.shape[1:],
        num_classes=num_classes,
        standardize=standardize,
        colour_axes=AXES,
        **(OFF | amounts),
    )


def run(images, *, labels=None, key=KEY, **settings):
    if labels is None:
        labels = np.arange(len(images)) % 10
    augment = build(images, **settings)
    out = jax.jit(augment.train)(
        key, jnp.asarray(images), jnp.asarray(labels, jnp.int32)
    )
    return [np.asarray(x) for x in out]


def test_every_operation_has_a_setting_here():
    assert set(ON) == set(OPERATIONS)
    assert set(OPERATIONS) | set(OPTIONS) == set(OFF)
    assert set(OPERATIONS) < set(STREAMS)
    assert len(STREAMS) == len(set(STREAMS.values()))


COLOURS = (
    *("resized_crop", "brightness", "contrast", "saturation", "hue", "grey"),
    *("noise", "pca_colour"),
)
FIRST = ("crop_pad", "flip", "cutout", "mixup_alpha")
SETTINGS = {
    **{name: {name: ON[name]} for name in FIRST},
    "mirrored": {"flip_vertical": True},
    "warped": {name: ON[name] for name in affine.NAMES},
    "coloured": {name: ON[name] for name in COLOURS},
    "pasted": {"erase": 0.5, "cutmix_alpha": 1.0},
    "randaugment": {"randaugment": 1},
    **{kind: {"crop_pad": 2, "standardize": kind} for kind in STANDARDIZE},
    "first": {name: ON[name] for name in FIRST} | {"standardize": "channel"},
    "all": ON | {"standardize": "channel"},
    "off": {},
}


@pytest.mark.parametrize("name", [slow(n) if n == "all" else n for n in SETTINGS])
def test_types_shapes_and_purity(name):
    images, labels = images_of(12), np.arange(12, dtype=np.int32) % 10
    train = jax.jit(build(images, **SETTINGS[name]).train)
    first, again = train(KEY, images, labels), train(KEY, images, labels)
    other = train(jax.random.key(4), images, labels)
    assert first[0].shape == images.shape
    assert first[1].shape == (12, 10)
    assert first[0].dtype == first[1].dtype == np.float32
    np.testing.assert_allclose(first[1].sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(first[0], again[0])
    assert bool((first[0] != other[0]).any()) == (name != "off")


# Those whose draws end in whole pixels, or in values that are not rounded away.
X64 = ("brightness", "hue", "pca_colour", "noise", "erase", "cutmix_alpha")


@pytest.mark.parametrize("names", [FIRST[:3], slow(X64)])
def test_x64_mode_draws_the_same(names):
    images, labels = images_of(12), np.arange(12, dtype=np.int32) % 10
    some = {name: ON[name] for name in names}
    train = build(images, "channel", **some).train
    want = jax.jit(train)(KEY, images, labels)
    with jax.enable_x64(True):
        got = jax.jit(train)(KEY, images, labels)
    for a, b in zip(got, want, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_off_is_the_evaluation_path():
    images = images_of(6)
    for standardize in STANDARDIZE:
        got, targets = run(images, standardize=standardize)
        want = jax.jit(build(images, standardize).preprocess)(images)
        np.testing.assert_allclose(got, want, rtol=1e-6)
        np.testing.assert_array_equal(targets.argmax(axis=1), np.arange(6))


def test_standardisation():
    images = images_of(2500, (4, 4, 3))
    images[..., 1] //= 3
    unit = images / 255

    def standardized(kind):
        return np.asarray(build(images, kind).preprocess(jnp.asarray(images)))

    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(standardized("none"), unit, rtol=1e-6)
    mean, std = unit.mean(axis=(0, 1, 2)), unit.std(axis=(0, 1, 2))
    np.testing.assert_allclose(standardized("channel"), (unit - mean) / std, **close)
    np.testing.assert_allclose(
        standardized("pixel_mean"), unit - unit.mean(axis=0), **close
    )
    one = standardized("image")
    np.testing.assert_allclose(one.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(one.std(axis=(1, 2, 3)), 1, rtol=1e-4)


@pytest.mark.parametrize("grey", [0, 7, 211, 255])
@pytest.mark.parametrize("standardize", [k for k in STANDARDIZE if k not in CONSTANTS])
def test_constant_images_become_zero(standardize, grey):
    """Nothing is divided by a standard deviation of 0, and no rounding is blown up."""
    images = np.full((3, 32, 32, 3), grey, np.uint8)
    want = grey / 255 if standardize == "none" else 0
    got = build(images, standardize).preprocess(images)
    np.testing.assert_allclose(got, want, atol=1e-7)


def test_one_grey_level_is_not_constant():
    images = np.full((1, 32, 32, 3), 100, np.uint8)
    images[0, 3, 5, 1] += 1
    got = np.asarray(build(images, "image").preprocess(images))[0]
    pixels = images[0] / 255
    # The differences are a few hundred roundings of float32.
    want = (pixels - pixels.mean()) / pixels.std()
    np.testing.assert_allclose(got, want, rtol=1e-2, atol=1e-2)


def test_statistics_come_from_the_training_split():
    train, other = images_of(20), images_of(20, seed=1) // 2
    augment = build(train, "channel")
    statistics = measure("channel", train)
    want = (other / np.float32(255) - statistics.mean) / statistics.std
    np.testing.assert_allclose(augment.preprocess(other), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pad", [1, 4])
def test_every_crop_is_equally_likely(pad):
    """Each pixel of the image carries its own number, so a crop shows its offset."""
    size, num = 8, 6000
    numbers = 1 + np.arange(size * size, dtype=np.uint8).reshape(1, size, size, 1)
    got, _ = run(np.repeat(numbers, num, axis=0), crop_pad=pad)
    got = np.rint(got[..., 0] * 255).astype(int)
    padded = np.pad(numbers[0, :, :, 0], pad)
    offsets = range(2 * pad + 1)
    crops = {
        padded[y : y + size, x : x + size].astype(int).tobytes(): (y, x)
        for y in offsets
        for x in offsets
    }
    counts = np.zeros((2 * pad + 1, 2 * pad + 1))
    for crop in got:
        counts[crops[np.ascontiguousarray(crop).tobytes()]] += 1
    expected = num / counts.size
    # Chi-square with n degrees of freedom has mean n and variance 2 n.
    freedom = counts.size - 1
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert counts.min() > 0
    assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


def test_padding_is_the_mean_of_the_data():
    images = images_of(400)
    got, _ = run(images, standardize="channel", crop_pad=4)
    # A corner is padding for 1 - (5/9)^2 of the offsets.
    assert abs((got[:, 0, 0] == 0).all(axis=1).mean() - (1 - 25 / 81)) < 0.08


def test_half_of_the_images_are_flipped():
    images = images_of(4000, (2, 3, 1))
    got, _ = run(images, flip=True)
    kept = np.isclose(got, images / 255).all(axis=(1, 2, 3))
    flipped = np.isclose(got, images[:, :, ::-1] / 255).all(axis=(1, 2, 3))
    assert (kept | flipped).all()
    assert abs(flipped.mean() - 0.5) < 0.04


@pytest.mark.parametrize("size", [3, 4])
def test_cutout_zeroes_one_square(size):
    images = np.full((3000, 8, 8, 1), 255, np.uint8)
    got, _ = run(images, cutout=size)
    hole = got[..., 0] == 0
    assert hole.sum(axis=(1, 2)).max() == size * size
    rows, columns = hole.any(axis=2), hole.any(axis=1)
    np.testing.assert_array_equal(hole, rows[:, :, None] & columns[:, None, :])
    # Every pixel is the centre with the same probability; the middle is always covered
    # by size^2 of 64 centres.
    assert abs(hole[:, 4, 4].mean() - size * size / 64) < 0.05
    first_row = rows.argmax(axis=1)
    assert set(first_row) == set(range(8 - size // 2))


def test_mixup_mixes_images_and_targets_alike():
    images = np.zeros((10, 2, 2, 10), np.uint8)
    images[np.arange(10), :, :, np.arange(10)] = 255  # the channel tells the class
    got, targets = run(images, mixup_alpha=1.0)
    np.testing.assert_allclose(got.mean(axis=(1, 2)), targets, atol=1e-6)
    share = targets[np.arange(10), np.arange(10)]
    assert len({round(float(s), 5) for s in share if s < 1}) == 1
    np.testing.assert_allclose(targets.sum(axis=0), 1, rtol=1e-5)  # a permutation


def test_mixup_share_is_beta():
    images, labels = images_of(2, (1, 1, 1)), jnp.array([0, 1], jnp.int32)
    train = build(images, num_classes=2, mixup_alpha=0.4).train
    keys = jax.random.split(KEY, 4000)
    draw = jax.jit(jax.vmap(lambda key: train(key, jnp.asarray(images), labels)[1]))
    targets = np.asarray(draw(keys))
    mixed = targets[targets[:, 0, 0] < 1][:, 0, 0]
    assert 0.4 < len(mixed) / len(keys) < 0.6  # half of the permutations move anything
    assert abs(mixed.mean() - 0.5) < 0.04
    assert abs(mixed.var() - 0.25 / 1.8) < 0.015  # 1 / (4 (2 alpha + 1))


def test_switching_one_on_does_not_disturb_another():
    images = images_of(50)
    with_crop, _ = run(images, crop_pad=2)
    both, _ = run(images, crop_pad=2, flip=True)
    same = (both == with_crop).all(axis=(1, 2, 3))
    mirrored = (both == with_crop[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | mirrored).all()
    only_flip, _ = run(images, flip=True)
    np.testing.assert_array_equal(
        mirrored & ~same, ~np.isclose(only_flip, images / 255).all(axis=(1, 2, 3))
    )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"crop_pad": -1}, r"config.augment.crop_pad=-1 .* give 0 \(off\) to 8 pixels"),
        ({"crop_pad": 9}, r"config.augment.crop_pad=9"),
        ({"flip": 2}, r"config.augment.flip=2"),
        ({"cutout": 17}, r"config.augment.cutout=17 .* to 16 pixels"),
        ({"mixup_alpha": float("nan")}, r"config.augment.mixup_alpha=nan"),
        ({"scale": 1.0}, r"config.augment.scale=1.0 .* to 0.9 "),
        ({"hue": 0.6}, r"config.augment.hue=0.6 .* to 0.5 \(share of the circle"),
        ({"grey": float("nan")}, r"config.augment.grey=nan"),
        ({"resized_crop_aspect": 0.5}, r"resized_crop_aspect is 0.5 .* from 1.0 to"),
        ({"randaugment_magnitude": 31}, r"randaugment_magnitude is 31 .* from 0 to 30"),
        ({"cutuot": 3}, r"unknown augmentation 'cutuot': did you mean 'cutout'"),
        ({"standardize": "chanel"}, r"unknown standardisation 'chanel': .*'channel'"),
    ],
)
def test_wrong_settings(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        build(images_of(2), **settings)


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_amount_is_below_zero_or_without_end(name):
    for amount in (-0.1, 1e9, float("inf"), float("nan")):
        with pytest.raises(UserError, match=rf"augment.{name}=.* give 0 \(off\) to"):
            build(images_of(2), **{name: amount})


@pytest.mark.parametrize("missing", ["flip", "resized_crop_aspect"])
def test_a_missing_key(missing):
    amounts = {name: value for name, value in OFF.items() if name != missing}
    with pytest.raises(UserError, match=f"config.augment.{missing} is missing"):
        make_augment(
            measure("none", images_of(1)),
            image_shape=SHAPE,
            num_classes=10,
            standardize="none",
            **amounts,
        )


@pytest.mark.parametrize("name", ["saturation", "hue", "grey"])
def test_grey_images_have_no_colours_to_change(name):
    with pytest.raises(UserError, match=f"augment.{name}=.* these images are grey"):
        build(images_of(2, (8, 8, 1)), **{name: ON[name]})
