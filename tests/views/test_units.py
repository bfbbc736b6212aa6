"""What units detect: strongest patches against brute force, and made images."""

import jax
import numpy as np
import pytest

from cnnjax.analysis.features import features
from cnnjax.analysis.places import places_of
from cnnjax.models.registry import create_model
from cnnjax.views.dreams import maximise
from cnnjax.views.units import Strongest, classes_of, patch, strongest
from tests.models.entries import one_seed

SHAPE = (14, 12, 3)
NET = create_model("resnet20_cifar", depth=8, widths=(4, 6, 8))
IMAGES = np.random.RandomState(0).standard_normal((13, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="module")
def variables():
    return one_seed(NET, SHAPE)


@pytest.fixture(scope="module")
def places():
    return places_of(NET, SHAPE)


LAYERS = ["stage2_block1", "head"]


@pytest.fixture(scope="module")
def streamed(variables, places):
    """Batches of 5, 5 and 3 images: the last is another program."""
    batches = (IMAGES[start : start + 5] for start in range(0, 13, 5))
    given = [places[layer] for layer in LAYERS]
    whole = jax.jit(lambda v, x: features(NET, v, x, LAYERS))
    return strongest(NET, variables, batches, given, k=4), whole(variables, IMAGES)


@pytest.mark.parametrize("layer", LAYERS)
def test_strongest_of_a_stream_are_those_of_all_at_once(streamed, places, layer):
    found, maps = streamed[0][layer], np.asarray(streamed[1][layer])
    maps = maps.reshape(13, -1, maps.shape[-1])
    assert found.seen == 13
    for unit in range(maps.shape[-1]):
        peaks = maps[:, :, unit].max(axis=1)
        order = np.argsort(-peaks, kind="stable")[:4]
        np.testing.assert_array_equal(found.images[unit], order)
        np.testing.assert_allclose(found.values[unit], peaks[order], rtol=1e-6)
        if layer == "head":
            assert not found.positions.any()
            continue
        columns = places[layer].shape[1]
        where = maps[order, :, unit].argmax(axis=1)
        np.testing.assert_array_equal(
            found.positions[unit], np.stack(np.divmod(where, columns), axis=1)
        )


def test_a_patch_is_all_that_a_position_depends_on(variables, places):
    """Pixels outside change nothing, and at each of its edges one changes something."""
    place = places["stage2_block1/conv1"]
    compute = jax.jit(lambda v, x: features(NET, v, x, [place.path])[place.path])
    image = IMAGES[0]
    for row, column in [(0, 0), (2, 3), (6, 5)]:
        (top, bottom), (left, right) = place.window(row, column)
        inside = np.zeros(SHAPE[:2], bool)
        rows, columns = slice(max(top, 0), bottom + 1), slice(max(left, 0), right + 1)
        inside[rows, columns] = True
        edges = [max(top, 0), min(bottom, SHAPE[0] - 1)]
        at_edge = np.zeros_like(inside)
        at_edge[edges, :] = inside[edges, :]
        changed = [image, image + 9 * ~inside[..., None], image + at_edge[..., None]]
        maps = np.asarray(compute(variables, np.stack(changed).astype(np.float32)))
        before, outside, edge = maps[:, row, column]
        np.testing.assert_array_equal(before, outside)
        assert np.abs(edge - before).max() > 1e-4
        cut = patch(image, place, row, column)
        expected = image[inside].reshape(-1, 3)
        np.testing.assert_array_equal(cut[~np.isnan(cut[..., 0])], expected)
        if (top, left) < (0, 0):
            assert np.isnan(cut[: max(-top, 0)]).all()


def test_a_field_that_covers_the_image_shows_the_image(places):
    place = places["stage3_block1"]
    assert min(place.extent) > max(SHAPE[:2])
    np.testing.assert_array_equal(patch(IMAGES[0], place, 1, 1), IMAGES[0])


def test_classes_are_counted(places):
    images = np.array([[0, 1, 2], [2, 2, 1]])
    found = Strongest(places["head"], images * 1.0, images, images, 3)
    counts = classes_of(found, np.array([4, 0, 4]), 5)
    np.testing.assert_array_equal(counts, [[1, 0, 0, 0, 2], [1, 0, 0, 0, 2]])


def test_made_images_excite_their_unit_and_repeat(variables):
    bounds = -2 * np.ones(SHAPE, np.float32), 2 * np.ones(SHAPE, np.float32)

    @jax.jit
    def make(seed):
        units = np.array([1, 5])
        return maximise(NET, variables, bounds, "stage2_block1", units, seed, steps=12)

    images, values = make(0)
    again, _ = make(0)
    other, _ = make(1)
    np.testing.assert_array_equal(images, again)
    assert np.abs(images - other).max() > 0.01
    assert np.abs(images).max() <= 2
    maps = jax.jit(lambda x: features(NET, variables, x, ["stage2_block1"]))(IMAGES)
    usual = np.asarray(maps["stage2_block1"]).mean(axis=(1, 2))[:, [1, 5]]
    assert (np.asarray(values) > usual.max(axis=0)).all()
