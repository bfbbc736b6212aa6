"""What is seen of photographs, bit for bit against torchvision's transforms."""

import io

import numpy as np
import pytest
from PIL import Image

from cnnjax.data.cutting import boxes
from cnnjax.data.cutting.cuts import cutting, drawn, evaluated
from cnnjax.data.cutting.geometry import (
    DRAWS,
    EVALUATION,
    INTERPOLATIONS,
    TRAIN,
    Geometry,
    draw,
)
from cnnjax.data.images import decode_all
from cnnjax.errors import UserError
from tests.slow import slow

SIZE = 24
SIDES = (27, 40)
RANDOM = np.random.RandomState(0)


def photograph(number):
    """(name, file) of one of 200: odd sizes, panoramas, grey, CMYK, turned by EXIF."""
    random = np.random.RandomState(number)
    width, height = random.randint(1, 90, 2)
    if number % 10 == 0:
        width = 1
    if number % 10 == 1:
        width, height = 400, int(random.randint(1, 9))
    if number % 10 == 2:
        width = height = int(random.randint(1, 60))
    # Large patches and noise: an edge and a rounding show.
    coarse = random.randint(0, 256, (3, 4, 3), np.uint8)
    image = Image.fromarray(coarse).resize((int(width), int(height)), Image.NEAREST)
    noisy = np.asarray(image) ^ random.randint(0, 32, (height, width, 3), np.uint8)
    mode = {3: "L", 4: "CMYK"}.get(number % 10, "RGB")
    exif = Image.Exif()
    if number % 10 == 5:
        exif[0x0112] = int(random.randint(2, 9))
    content = io.BytesIO()
    Image.fromarray(noisy).convert(mode).save(content, "JPEG", exif=exif, quality=90)
    return f"{number}.jpg", content.getvalue()


@pytest.fixture(scope="module")
def photographs():
    return [photograph(number) for number in range(200)]


@pytest.fixture(scope="module")
def upright(photographs):
    """The images that torchvision's transforms get: as they are decoded."""
    return [Image.fromarray(decode_all([p], 1, 3, 0)[0]) for p in photographs]


@pytest.fixture(scope="module")
def functional(torchvision):
    return __import__("torchvision.transforms.functional").transforms.functional


@pytest.fixture(params=INTERPOLATIONS)
def interpolation(request):
    from torchvision.transforms import InterpolationMode

    return request.param, InterpolationMode(request.param)


def seen(photographs, geometry, draws=None):
    cut = cutting(geometry, SIZE, draws)
    return decode_all(photographs, len(photographs), 3, SIZE, cut=cut)


def same(ours, theirs):
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        np.testing.assert_array_equal(one, np.asarray(other), err_msg=str(number))


def test_boxes_of_a_drawn_size(photographs, upright, functional, interpolation):
    name, mode = interpolation
    geometry = Geometry(train="random_resized_crop", interpolation=name)
    draws = draw(1, np.zeros(200, int), np.arange(200))
    theirs = []
    for image, of_image in zip(upright, draws, strict=True):
        top, left, height, width = boxes.resized_crop(
            of_image[:20].reshape(10, 2),
            of_image[20:22],
            image.height,
            image.width,
            area=geometry.area,
            aspect=geometry.aspect,
        )
        box = (int(top), int(left), int(height), int(width))
        theirs.append(functional.resized_crop(image, *box, [SIZE, SIZE], mode))
    same(seen(photographs, geometry, draws), theirs)


@pytest.mark.parametrize("train", ["resize_crop", "scale_crop"])
def test_crops_of_a_resized_photograph(
    photographs, upright, functional, interpolation, train
):
    name, mode = interpolation
    geometry = Geometry(train=train, interpolation=name, shorter_side=SIDES)
    draws = draw(2, np.zeros(200, int), np.arange(200))
    theirs, sides = [], set()
    for image, of_image in zip(upright, draws, strict=True):
        side = SIDES[0]
        if train == "scale_crop":
            side += int(of_image[22] * (SIDES[1] - SIDES[0] + 1))
        sides.add(side)
        large = functional.resize(image, side, mode)
        free = np.array([large.height, large.width]) - SIZE + 1
        top, left = (of_image[20:22] * free).astype(int).tolist()
        theirs.append(functional.crop(large, top, left, SIZE, SIZE))
    same(seen(photographs, geometry, draws), theirs)
    assert len(sides) == (1 if train == "resize_crop" else SIDES[1] - SIDES[0] + 1)


@pytest.mark.parametrize("fraction", [0.875, 0.9, 1.0])
def test_the_middle_of_an_evaluation(
    photographs, upright, functional, interpolation, fraction
):
    name, mode = interpolation
    geometry = Geometry(evaluation="resize_crop", interpolation=name, fraction=fraction)
    theirs = [
        functional.center_crop(functional.resize(i, int(SIZE / fraction), mode), SIZE)
        for i in upright
    ]
    same(seen(photographs, geometry), theirs)


@pytest.mark.parametrize("num", [500, slow(10_000)])
def test_the_drawn_boxes_are_distributed_as_those_of_torchvision(torchvision, num):
    """Area and aspect, and the fall-back, by the test of Kolmogorov and Smirnov."""
    import torch
    from scipy import stats
    from torchvision.transforms import RandomResizedCrop

    geometry, height, width = Geometry(), 300, 90
    draws = draw(3, np.zeros(num, int), np.arange(num))
    ours = np.array(
        boxes.resized_crop(
            draws[:, :20].reshape(-1, 10, 2),
            draws[:, 20:22],
            height,
            width,
            area=geometry.area,
            aspect=geometry.aspect,
        )
    ).T
    torch.manual_seed(0)
    image, arguments = Image.new("L", (width, height)), (geometry.area, geometry.aspect)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, *arguments) for _ in range(num)]
    )
    for of in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: box[:, 3] / box[:, 2],
        lambda box: box[:, 0],
        lambda box: box[:, 1],
    ):
        assert stats.ks_2samp(of(ours), of(theirs)).pvalue > 1e-3
    # 80% of the area does not fit the aspects that are allowed in a slim image.
    largest = [(box[:, 2:] == (120, 90)).all(axis=1).mean() for box in (ours, theirs)]
    assert min(largest) > 0.01
    assert abs(largest[0] - largest[1]) < 4 * np.sqrt(0.5 * largest[0] / num)


def test_a_draw_is_a_function_of_key_epoch_and_example():
    epochs, examples = np.array([0, 0, 1, 1]), np.array([4, 5, 4, 5])
    draws = draw(7, epochs, examples)
    assert draws.shape == (4, DRAWS)
    np.testing.assert_array_equal(draw(7, epochs[2:3], examples[2:3]), draws[2:3])
    assert len(np.unique(np.concatenate([draws, draw(8, epochs, examples)]))) == (
        8 * DRAWS
    )
    many = draw(2**64 - 1, np.zeros(4000, int), np.arange(4000))
    assert (many >= 0).all()
    assert (many < 1).all()
    # Frozen: the stream is part of what a seed means.
    frozen = [0.5339392946918573, 0.7766901144831021, 0.47551010834762697]
    assert draw(0, np.array([0]), np.array([0]))[0, :3].tolist() == frozen


def test_a_panorama_that_no_memory_holds_is_refused():
    image = Image.new("L", (60_000, 1))
    with pytest.raises(UserError, match=r"1x60000 would have .* shorter side of 256"):
        drawn(Geometry(train="resize_crop"), image, 224, np.zeros(DRAWS))
    assert evaluated(Geometry(train="resize_crop"), image, 4).size == (4, 4)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"train": "crop"}, r"'crop': .*center, resize_crop|did you mean|allowed"),
        ({"evaluation": "ten"}, "config.geometry.evaluation"),
        ({"area": (0.5, 0.1)}, "config.geometry.area"),
        ({"area": (0.0, 1.0)}, "config.geometry.area"),
        ({"shorter_side": (256,)}, "config.geometry.shorter_side"),
        ({"fraction": 1.5}, "config.geometry.fraction"),
    ],
)
def test_values_that_are_none(values, sentence):
    with pytest.raises(UserError, match=sentence):
        Geometry(**values)


def test_a_fraction_of_two_sides_gives_the_larger_one():
    """224 / (224 / 375) is less than 375 in float64."""
    for size in range(32, 451):
        larger = [
            Geometry(fraction=size / side).larger(size)
            for side in range(size, 4 * size, 7)
        ]
        assert larger == list(range(size, 4 * size, 7))
    # What is no whole number is rounded down, as by those who publish such numbers.
    assert Geometry(fraction=0.9).larger(224) == 248


@pytest.mark.parametrize("train", TRAIN[1:3])
def test_a_crop_larger_than_the_photograph_is_refused(train):
    with pytest.raises(UserError, match=r"shorter_side=\(256, 480\) is less than"):
        Geometry(train=train).check(299)
    with pytest.raises(UserError, match="need a size"):
        Geometry(train=train).check(0)
    assert EVALUATION[0] == TRAIN[0] == "center"
