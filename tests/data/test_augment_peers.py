"""Operations of augmentation against torchvision: at fixed parameters, and draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ks_2samp

from cnnjax.data.augment import affine, colour, crop, mix, noise, randaugment
from cnnjax.data.augment.given import STREAMS, Given
from cnnjax.data.cutting import boxes
from cnnjax.data.standardize import measure
from tests.peers import torch

transforms = pytest.importorskip("torchvision.transforms", exc_type=ImportError)
F, autoaugment = transforms.functional, transforms.autoaugment
BILINEAR = transforms.InterpolationMode.BILINEAR
NUM, HEIGHT, WIDTH = 6, 20, 32
CLOSE = 1e-5


def stored():
    """Levels of images: of noise, constant, dark, and of few colours."""
    shape = (NUM, HEIGHT, WIDTH, 3)
    images = np.random.RandomState(0).randint(0, 256, shape, np.uint8)
    images[1] = 77
    images[2] //= 4
    images[3] &= 0xC0
    return images


def unit():
    return stored() / np.float32(255)


def peer(function, images=None):
    """Applies a function of torch to each image by itself."""
    images = unit() if images is None else images
    in_torch = torch.tensor(images.transpose(0, 3, 1, 2))
    done = [function(in_torch[i : i + 1], i) for i in range(len(images))]
    return torch.cat(done).numpy().transpose(0, 2, 3, 1)


FACTORS = np.array([0, 0.3, 0.9, 1, 1.5, 2], np.float32)
WIDE = FACTORS[:, None, None, None]


def test_brightness_contrast_saturation_and_grey():
    images = jnp.asarray(unit())
    for other, adjust in (
        (jnp.float32(0), F.adjust_brightness),
        (colour.mean_luma(images), F.adjust_contrast),
        (colour.luma(images), F.adjust_saturation),
    ):
        want = peer(lambda x, i, adjust=adjust: adjust(x, float(FACTORS[i])))
        got = colour.blend(images, other, WIDE)
        np.testing.assert_allclose(got, want, atol=1e-6)
    want = peer(lambda x, i: F.rgb_to_grayscale(x))
    np.testing.assert_allclose(colour.luma(images), want, atol=1e-6)


def test_hue():
    turns = np.array([-0.5, -0.3, 0, 0.1, 0.25, 0.5], np.float32)
    want = peer(lambda x, i: F.adjust_hue(x, float(turns[i])))
    got = colour.turn_hue(jnp.asarray(unit()), turns[:, None, None])
    np.testing.assert_allclose(got, want, atol=CLOSE)


def test_resized_boxes():
    """Within the box and at its edges, where pixels beyond are not seen."""
    fields = (
        *([0, 3, 5, 0, 19, 2], [0, 30, 7, 0, 1, 3]),
        *([20, 3, 9, 1, 1, 15], [32, 2, 21, 1, 30, 7]),
    )
    box = boxes.Box(*map(np.array, fields))

    def resized(x, i):
        part = [int(field[i]) for field in fields]
        return F.resized_crop(x, *part, [HEIGHT, WIDTH], antialias=True)

    got = crop.resize(jnp.asarray(unit()), boxes.Box(*map(jnp.asarray, box)))
    np.testing.assert_allclose(got, peer(resized), atol=CLOSE)


def test_affine():
    angle = np.array([0, 30, -45, 90, 170, 3], np.float32)
    moved = np.array([[0, 0], [3, -2], [0, 5], [-7, 1], [0, 0], [1, 1]], np.float32)
    scale = np.array([1, 1.2, 0.7, 1, 0.5, 1.1], np.float32)
    shear = np.array([0, 10, -20, 0, 5, 30], np.float32)
    matrix = scale[:, None, None] * affine.turn(
        jnp.deg2rad(angle), jnp.tan(jnp.deg2rad(shear)), jnp.zeros(NUM)
    )
    want = peer(
        lambda x, i: F.affine(
            x,
            float(angle[i]),
            [int(v) for v in moved[i]],
            float(scale[i]),
            [float(shear[i]), 0.0],
            interpolation=BILINEAR,
        )
    )
    got = affine.warp(jnp.asarray(unit()), matrix, jnp.asarray(moved))
    np.testing.assert_allclose(got, want, atol=2e-5)


NAMES = {
    "identity": "Identity",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "colour": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
}


def in_torchvision(name, level, sign):
    """One operation of torchvision's RandAugment; of bytes where it takes no others."""
    space = transforms.RandAugment()._augmentation_space(31, (HEIGHT, WIDTH))
    magnitudes, signed = space[NAMES[name]]
    strength = float(magnitudes[level]) if magnitudes.ndim else 0.0
    strength *= sign if signed else 1
    strength /= 255 if name == "solarize" else 1
    of_bytes = name in ("posterize", "equalize")

    def change(x, i):
        return autoaugment._apply_op(x, NAMES[name], strength, BILINEAR, None)

    images = peer(change, stored() if of_bytes else unit())
    return images / 255 if of_bytes else images


@pytest.mark.parametrize("level", [4, 9, 30])
@pytest.mark.parametrize("sign", [1, -1])
def test_operations_of_randaugment(level, sign):
    assert list(NAMES) == list(randaugment.KINDS)
    images = jnp.asarray(np.tile(unit(), (len(NAMES), 1, 1, 1)))
    got = randaugment.one_round(
        images,
        jnp.repeat(jnp.arange(len(NAMES)), NUM),
        jnp.full(len(images), sign, jnp.float32),
        level / 30,
        jnp.zeros((1, 1, 1, 1)),
    )
    for name, of_name in zip(NAMES, np.split(np.asarray(got), len(NAMES)), strict=True):
        want = in_torchvision(name, level, sign)
        np.testing.assert_allclose(of_name, want, atol=2e-5, err_msg=name)


def test_boxes_of_cutmix():
    v2 = pytest.importorskip("torchvision.transforms.v2", exc_type=ImportError)
    images = torch.zeros((2, 3, HEIGHT, WIDTH))
    cutmix = v2.CutMix(num_classes=2)
    for seed in range(30):
        torch.manual_seed(seed)
        share = float(cutmix._dist.sample(()))
        column, row = (int(torch.randint(n, (1,))) for n in (WIDTH, HEIGHT))
        torch.manual_seed(seed)
        want = cutmix.make_params([images])
        place = np.array([(row + 0.5) / HEIGHT, (column + 0.5) / WIDTH], np.float32)
        top, left, height, width = mix.cutmix_box(share, place, HEIGHT, WIDTH)
        got = left, top, left + width, top + height
        assert tuple(map(int, got)) == tuple(want["box"])
        kept = 1 - int(height * width) / (HEIGHT * WIDTH)
        assert kept == pytest.approx(want["lam_adjusted"])


# -- distributions ---------------------------------------------------------------------


def given_of(**amounts):
    statistics = measure("none", np.zeros((1, 1, 1, 3), np.uint8))
    off = dict.fromkeys(STREAMS, 0)
    return Given(jax.random.key(5), off | amounts, statistics)


def assert_same_distribution(ours, theirs):
    """Kolmogorov and Smirnov; the draws are fixed, so this passes or fails for good."""
    assert ks_2samp(np.ravel(ours), np.ravel(theirs)).pvalue > 0.01


MANY = 1500


def test_draws_of_affine(monkeypatch):
    seen = []
    monkeypatch.setattr(affine, "warp", lambda x, *given: seen.append(given) or x)
    given = given_of(rotation=30.0, translation=0.25, scale=0.2, shear=15.0)
    affine.random_affine(given, jnp.zeros((MANY, 40, 60, 3)))
    ((matrix, moved),) = seen
    torch.manual_seed(0)
    draw = transforms.RandomAffine.get_params
    theirs = [
        draw([-30.0, 30.0], [0.25, 0.25], [0.8, 1.2], [-15.0, 15.0], [60, 40])
        for _ in range(MANY)
    ]
    angle, far, scale, shear = (np.array(x) for x in zip(*theirs, strict=True))
    # Rotation times scale times shear along the rows, which keeps the first column.
    a, c = matrix[:, 0, 0], matrix[:, 1, 0]
    size = jnp.sqrt(a**2 + c**2)
    assert_same_distribution(jnp.rad2deg(jnp.arctan2(c, a)), angle)
    assert_same_distribution(size, scale)
    along = -(a * matrix[:, 0, 1] + c * matrix[:, 1, 1]) / size**2
    assert_same_distribution(jnp.rad2deg(jnp.arctan(along)), shear[:, 0])
    for i in (0, 1):
        assert_same_distribution(moved[:, i], far[:, i])
        assert set(np.unique(moved[:, i])) <= set(range(-15, 16))


def test_draws_of_colours(monkeypatch):
    image = jnp.full((MANY, 1, 2, 3), 0.25).at[:, :, 1].set(0.5)
    got = colour.random_brightness(given_of(brightness=0.4), image)
    torch.manual_seed(0)
    draw = transforms.ColorJitter.get_params
    ranges = [[0.6, 1.4], [0.2, 1.8], [0.2, 1.8], [-0.1, 0.1]]
    theirs = np.array([draw(*ranges)[1:] for _ in range(MANY)])
    assert_same_distribution(got[:, 0, 0, 0] / 0.25, theirs[:, 0])
    got = colour.random_contrast(given_of(contrast=0.8), image)
    ours = (got[:, 0, 1, 0] - got[:, 0, 0, 0]) / 0.25
    assert_same_distribution(ours, theirs[:, 1])
    red = jnp.tile(jnp.array([0.5, 0.4, 0.4])[None, None, None], (MANY, 1, 1, 1))
    got = colour.random_saturation(given_of(saturation=0.8), red)
    assert_same_distribution((got[..., 0] - got[..., 1]) / 0.1, theirs[:, 2])
    monkeypatch.setattr(colour, "turn_hue", lambda x, turns: turns)
    assert_same_distribution(colour.random_hue(given_of(hue=0.1), red), theirs[:, 3])
    greyed = colour.random_grey(given_of(grey=0.3), red)
    assert abs(np.mean(greyed[..., 0] == greyed[..., 1]) - 0.3) < 0.05


def test_draws_of_resized_crops(monkeypatch):
    monkeypatch.setattr(crop, "resize", lambda images, box: box)
    given = given_of(resized_crop=0.2, resized_crop_aspect=4 / 3)
    ours = np.array(crop.random_resized_crop(given, jnp.zeros((MANY, 64, 80, 3))))
    torch.manual_seed(0)
    image = torch.empty((3, 64, 80))
    draw = transforms.RandomResizedCrop.get_params
    theirs = np.array([draw(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(MANY)]).T
    for field in range(4):
        assert_same_distribution(ours[field], theirs[field])
    assert_same_distribution(ours[2] * ours[3], theirs[2] * theirs[3])
    assert_same_distribution(ours[3] / ours[2], theirs[3] / theirs[2])


def test_noise():
    v2 = pytest.importorskip("torchvision.transforms.v2", exc_type=ImportError)
    image = np.full((4, 30, 30, 3), 0.9, np.float32)
    torch.manual_seed(0)
    theirs = v2.GaussianNoise(sigma=0.1)(torch.tensor(image))
    ours = noise.random_noise(given_of(noise=0.1), jnp.asarray(image))
    assert_same_distribution(ours, theirs)
    assert float(ours.max()) == 1.0
    assert len(np.unique(ours.reshape(4, -1), axis=0)) == 4  # each image has its own
