"""Standardisation by constants: published ones and numbers of one's own."""

import numpy as np
import pytest

from cnnjax.data.augment import apply_statistics
from cnnjax.data.preprocess import Preprocess
from cnnjax.data.standardize import measure
from cnnjax.errors import UserError
from cnnjax.run.trained.kinds import FED

IMAGES = np.random.RandomState(0).randint(0, 256, (3, 4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("kind", "mean", "std"),
    [
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("inception", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("0.1,0.2,0.3/0.4,0.5,0.6", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
    ],
)
def test_as_torchvision_normalises(torchvision, kind, mean, std):
    import torch
    from torchvision.transforms import functional

    images = torch.tensor(IMAGES.transpose(0, 3, 1, 2)) / 255
    theirs = functional.normalize(images, list(mean), list(std))
    statistics = measure(kind, IMAGES)
    np.testing.assert_allclose(
        apply_statistics(statistics, IMAGES),
        theirs.numpy().transpose(0, 2, 3, 1),
        rtol=1e-5,
        atol=1e-6,
    )
    preprocess = Preprocess((4, 5, 3), kind, statistics)
    flaws = []
    assert FED.sift(preprocess.record(), "", flaws) == preprocess.record()
    assert flaws == []


@pytest.mark.parametrize(
    "kind", ["a/b", "0.5,0.5/0.5", "2/0.5", "0.5/0", "nan/0.5", "/", "0.5/0.5/0.5"]
)
def test_numbers_that_are_none(kind):
    with pytest.raises(UserError, match="is no mean and standard deviation of each"):
        measure(kind, IMAGES)


def test_constants_of_colour_for_grey_images():
    with pytest.raises(UserError, match="has 3 channels and the images have 1"):
        measure("imagenet", IMAGES[..., :1])
    with pytest.raises(UserError, match="has 1 channels and the images have 3"):
        measure("0.5/0.25", IMAGES)


def test_a_record_that_says_one_thing_and_does_another():
    record = Preprocess((4, 5, 3), "imagenet", measure("imagenet", IMAGES)).record()
    for change in ({"standardize": "inception"}, {"mean": [0.5, 0.5, 0.5]}):
        flaws = []
        FED.sift(record | change, "", flaws)
        assert flaws
