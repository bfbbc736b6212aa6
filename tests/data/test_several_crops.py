"""Several crops of a photograph: torchvision's, and a training that ends with them."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from cnnjax.data.cutting.cuts import evaluated, seen
from cnnjax.data.cutting.geometry import Geometry
from cnnjax.data.dataset import load_dataset
from cnnjax.data.streaming import EvalStream
from cnnjax.errors import UserError
from cnnjax.run.settings import data_request
from cnnjax.run.setup import set_up
from cnnjax.training.multi_view import Views
from tests.data.test_cuts import photograph
from tests.run.tiny import fit, tiny_config
from tests.slow import slow

SIZE, SCALES = 8, (9, 14)
TEN = Geometry(evaluation="ten_crop", fraction=2 / 3)
MANY = Geometry(evaluation="multi_scale", scales=SCALES)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs")
    random = np.random.RandomState(0)
    for number in range(24):
        split = "test" if number % 3 == 0 else "train"
        path = root / split / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        pixels = random.randint(0, 256, (*random.randint(9, 40, 2), 3), np.uint8)
        Image.fromarray(pixels).save(path)
    return root


def read_json(path):
    return json.loads(path.read_text())


def upright(number):
    return Image.open(io.BytesIO(photograph(number)[1])).convert("RGB")


def arrays(images):
    return np.stack([np.asarray(image) for image in images])


def test_ten_crops_are_those_of_torchvision(torchvision):
    from torchvision.transforms import functional

    for number in range(60):
        image = upright(number)
        ten = functional.ten_crop(functional.resize(image, 12), SIZE)
        np.testing.assert_array_equal(arrays(seen(TEN, image, SIZE)), arrays(ten))
        middle = evaluated(TEN, image, SIZE)
        np.testing.assert_array_equal(np.asarray(middle), np.asarray(ten[4]))


def test_the_grid_is_that_of_the_paper(torchvision):
    from torchvision.transforms import functional

    for number in range(0, 60, 7):
        image, want = upright(number), []
        for side in SCALES:
            larger = functional.resize(image, side)
            free = np.array([larger.height, larger.width]) - SIZE
            for top in np.linspace(0, free[0], 5).round().astype(int):
                for left in np.linspace(0, free[1], 5).round().astype(int):
                    cut = functional.crop(larger, int(top), int(left), SIZE, SIZE)
                    want.append(cut)
        got = arrays(seen(MANY, image, SIZE))
        assert len(got) == MANY.num_views == 50
        np.testing.assert_array_equal(got, arrays(want))


def config_of(root, evaluation, **changes):
    config = tiny_config(
        **{
            "data__name": "folder",
            "data__num_train": 0,
            "data__num_validation": 4,
            "data__num_test": 0,
            "data__num_classes": 0,
            "data__image_size": SIZE,
            "geometry__evaluation": evaluation,
            "geometry__fraction": 2 / 3,
            "geometry__scales": SCALES,
            "augment__standardize": "imagenet",
            "eval__batch_size": 3,
            **changes,
        }
    )
    config.data.data_dir = str(root)
    return config


def test_a_split_reads_all_views(photographs):
    test = load_dataset(data_request(config_of(photographs, "ten_crop"))).test
    images, labels = test.read_views(np.arange(len(test)))
    assert images.shape == (8, 10, SIZE, SIZE, 3)
    once, same = test.read(np.arange(len(test)))
    np.testing.assert_array_equal(images[:, 4], once)
    np.testing.assert_array_equal(labels, same)
    with EvalStream(
        test, batch_size=3, positions=np.arange(3), ahead=1, views=True
    ) as stream:
        streamed = np.concatenate([batch for batch, _, _ in stream])
    np.testing.assert_array_equal(streamed[:8], images)


def test_what_a_net_says_of_views_that_were_read():
    views = np.random.RandomState(0).randint(0, 256, (2, 3, 4, 5, 1)).astype(np.float32)

    def net(images):
        return images[:, :2, 0, 0]  # left and right differ

    found = Views(flip=True, read="crops").logits(net, views, probabilities=False)
    both = np.stack([views[:, :, :2, 0, 0], views[:, :, :2, -1, 0]])
    np.testing.assert_allclose(found, both.mean(axis=(0, 2)), rtol=1e-6)


@pytest.mark.parametrize(
    ("evaluation", "views"), [slow("ten_crop", 10), slow("multi_scale", 50)]
)
def test_training_ends_with_all_views(photographs, tmp_path, evaluation, views):
    """The errors at the end are of the mean of what the net says of each view."""
    from cnnjax.run.trained.load import load_run

    once = set_up(config_of(photographs, "resize_crop"))
    run = set_up(config_of(photographs, evaluation))
    assert run.dataset.fingerprint == once.dataset.fingerprint
    fit(run, tmp_path / "several")
    fit(once, tmp_path / "once")
    net = load_run(tmp_path / "several", "last", 0)
    plain = load_run(tmp_path / "once", "last", 0)
    assert net.preprocess.words() == plain.preprocess.words()
    test = run.dataset.test
    images, labels = test.read_views(np.arange(len(test)))
    every = [images[:, view] for view in range(views)]
    if evaluation == "multi_scale":
        every += [view[:, :, ::-1] for view in every]
    rows = []
    for view in every:
        logits = net.network.apply(net.variables, net.preprocess(view), train=False)
        odds = np.exp(np.asarray(logits, float))
        rows.append(odds / odds.sum(1, keepdims=True))
    chosen = np.mean(rows, axis=0)[np.arange(len(labels)), labels]
    several, alone = (
        read_json(tmp_path / name / "seed-0" / "result.json")
        for name in ("several", "once")
    )
    np.testing.assert_allclose(
        several["final"]["test"]["loss"], -np.log(chosen).mean(), rtol=1e-5
    )
    assert several["final"]["test"]["count"] == len(labels)
    assert "crops of 8 pixels" in several["evaluated"]["views"]
    assert several["final"]["test"]["loss"] != alone["final"]["test"]["loss"]
    # Until then both were judged by the middle.
    assert several["best"]["step"] == alone["best"]["step"]


def test_what_does_not_go_together_is_refused(photographs, monkeypatch):
    for changes, words in (
        ({"eval__flip": True}, "config.eval asks for views of each of them"),
        ({"eval__statistics": "batch"}, "which they would share"),
        ({"eval__batch_size": 10**9}, "lower config.eval.batch_size"),
    ):
        with pytest.raises(UserError, match=words):
            set_up(config_of(photographs, "ten_crop", **changes))
    small = config_of(photographs, "multi_scale", geometry__scales=(7, 9))
    with pytest.raises(UserError, match="has a side that is less than"):
        data_request(small)
    with pytest.raises(UserError, match="are no shorter sides"):
        Geometry(scales=())
