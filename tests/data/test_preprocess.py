"""What a net is fed with, away from its data set: against NumPy and Pillow alone."""

import json

import numpy as np
import pytest
from PIL import Image

from cnnjax.data.preprocess import Preprocess
from cnnjax.data.standardize import STANDARDIZE, measure
from cnnjax.errors import UserError
from tests.data.loading import load

IMAGES = np.random.RandomState(0).randint(0, 256, (6, 8, 8, 3), np.uint8)


def preprocess(standardize="channel", images=IMAGES):
    statistics = measure(standardize, images)
    return Preprocess(images.shape[1:], standardize, statistics)


def by_hand(standardize, images):
    x = images / 255.0
    if standardize == "channel":
        of_train = IMAGES / 255.0
        return (x - of_train.mean((0, 1, 2))) / of_train.std((0, 1, 2))
    if standardize == "pixel_mean":
        return x - (IMAGES / 255.0).mean(0)
    if standardize == "image":
        axes = (1, 2, 3)
        return (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)
    if standardize == "imagenet":
        return (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return 2 * x - 1 if standardize == "inception" else x


@pytest.mark.parametrize("standardize", STANDARDIZE)
def test_it_is_what_it_says_also_after_json(standardize):
    there = preprocess(standardize)
    again = Preprocess.of_record(json.loads(json.dumps(there.record())))
    other = np.random.RandomState(1).randint(0, 256, (3, 8, 8, 3), np.uint8)
    expected = by_hand(standardize, other)
    np.testing.assert_allclose(again(other), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(again(other), there(other))
    assert again.words() == there.words()


def test_other_sizes_are_cropped_and_resized_as_pillow_does_it():
    image = np.random.RandomState(2).randint(0, 256, (20, 30, 3), np.uint8)
    square = Image.fromarray(image).resize(
        (8, 8), Image.Resampling.BILINEAR, box=(5, 0, 25, 20)
    )
    square = np.asarray(square)
    for given in (image, image[None], Image.fromarray(image)):
        result = preprocess("none")(given)
        np.testing.assert_allclose(result[0], square / 255, atol=1e-6)
    # A list may mix sizes.
    assert preprocess()([image, IMAGES[0], Image.fromarray(image)]).shape[0] == 3


def test_grey_images_for_a_net_that_takes_colour():
    grey = np.random.RandomState(3).randint(0, 256, (8, 8), np.uint8)
    expected = np.repeat(grey[None, :, :, None], 3, -1) / 255
    for given in (grey[:, :, None], Image.fromarray(grey)):
        np.testing.assert_allclose(preprocess("none")(given), expected, atol=1e-6)
    ink = Image.fromarray(grey > 99)
    assert ink.mode == "1"
    assert set(np.unique(preprocess("none")(ink))) == {0.0, 1.0}


def test_colour_where_the_run_turned_it_into_grey():
    """`config.data.channels=1`; Pillow is the witness."""
    grey = np.asarray(Image.fromarray(IMAGES[0]).convert("L"))
    there = Preprocess((8, 8, 1), "none", measure("none", IMAGES), to_grey=True)
    again = Preprocess.of_record(json.loads(json.dumps(there.record())))
    np.testing.assert_allclose(again(IMAGES[:1])[0, :, :, 0], grey / 255, atol=1e-6)


def test_pillow_images_are_taken_as_files_are(tmp_path):
    """Upright, and on a white page: as `load_dataset` reads the same file."""
    image = Image.fromarray(IMAGES[0]).convert("RGBA")
    image.putalpha(Image.fromarray(IMAGES[1, :, :, 0]))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned
    for i in range(4):
        for name in ("cat", "dog"):
            (tmp_path / name).mkdir(exist_ok=True)
            image.save(tmp_path / name / f"{i}.png", exif=exif)
    dataset = load("folder", tmp_path)
    with Image.open(tmp_path / "cat" / "0.png") as opened:
        result = preprocess("none")(opened)
    np.testing.assert_array_equal(result, preprocess("none")(dataset.train.images[:1]))


GREY = IMAGES[..., :1]


@pytest.mark.parametrize(
    ("trained_on", "given", "words"),
    [
        (IMAGES, IMAGES / 255, r"float64\[6, 8, 8, 3\] was given: images are uint8"),
        (IMAGES, IMAGES[0, :, :, 0], r"uint8\[8, 8\] was given"),
        (IMAGES, IMAGES[:0], r"uint8\[0, 8, 8, 3\] was given"),
        (IMAGES, [], "no image in the list"),
        (IMAGES, Image.new("F", (8, 8)), "'F'|floating|32"),
        (IMAGES, np.zeros((1, 8, 8, 4), np.uint8), r"4 channels .* trained on 3"),
        (GREY, IMAGES, r"3 channels .* trained on 1: .*convert\('L'\)"),
        (IMAGES[:, :6], IMAGES, "are 8x8 and .* on 6x8, which is no square"),
    ],
)
def test_what_it_does_not_take(trained_on, given, words):
    with pytest.raises(UserError, match=words):
        preprocess(images=trained_on)(given)


def test_words_say_all_that_another_library_needs():
    assert preprocess().words() == (
        "RGB, centred square resized to 8x8 (bilinear, antialiased), divided by 255, "
        "minus mean ({:.4f}, {:.4f}, {:.4f}), divided by std ({:.4f}, {:.4f}, {:.4f})"
    ).format(*(IMAGES / 255).mean((0, 1, 2)), *(IMAGES / 255).std((0, 1, 2)))
    assert "grey" in preprocess("image", GREY).words()
    assert "own mean" in preprocess("image", GREY).words()
    assert "mean image" in preprocess("pixel_mean", GREY).words()
