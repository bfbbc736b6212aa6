"""Views of images: the crops and sizes of torchvision, averages by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.studies.predictions import predict
from cnnjax.studies.scores import scores
from cnnjax.training.multi_view import Views, resized
from tests.run.tiny import RESNET, fit, tiny_run

STREAM = np.random.RandomState(0)
IMAGES = STREAM.normal(size=(2, 9, 12, 3)).astype(np.float32)
WEIGHTS = STREAM.normal(size=(3, 4)).astype(np.float32)


def net(images):
    """Logits of any size of image, which tell left from right."""
    places = np.linspace(0, 1, images.shape[2], dtype=np.float32)[None, None, :, None]
    return (images * places).sum((1, 2)) @ WEIGHTS


@pytest.fixture
def torchvision():
    pytest.importorskip("torch")
    from tests import peers

    peers._declare_operators()
    return pytest.importorskip("torchvision", reason="compares with torchvision")


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [6, 7])
def test_crops_are_those_of_torchvision(torchvision, size, flip):
    import torch
    from torchvision.transforms import functional

    views = Views(crops="five", crop_size=size, flip=flip)
    (ours,) = views._views_of(jnp.asarray(IMAGES))
    peer = functional.ten_crop if flip else functional.five_crop
    theirs = peer(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2)), size)
    theirs = np.stack([view.numpy().transpose(0, 2, 3, 1) for view in theirs])
    if flip:  # there crops of the mirror image: left and right in another order
        order = [0, 1, 2, 3, 4, 6, 5, 8, 7, 9]
        theirs = theirs[order]
    np.testing.assert_array_equal(np.asarray(ours)[:5], theirs[:5])
    if flip and size == 6:  # an odd rest has no one centre
        np.testing.assert_array_equal(np.asarray(ours)[5:], theirs[5:])


@pytest.mark.parametrize("size", [(6, 8), (12, 16), (5, 7)])
def test_sizes_are_those_of_torchvision(torchvision, size):
    import torch
    from torchvision.transforms import functional

    theirs = functional.resize(
        torch.from_numpy(IMAGES.transpose(0, 3, 1, 2)), list(size), antialias=True
    )
    theirs = theirs.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(resized(jnp.asarray(IMAGES), size), theirs, atol=1e-5)


def test_probabilities_are_averaged_by_hand():
    views = Views(crops="five", crop_size=5, scales=(1.0, 11 / 9), flip=True)
    every = []
    for of in (IMAGES, np.asarray(resized(jnp.asarray(IMAGES), (11, 15)))):
        h, w = of.shape[1:3]
        centre = (round((h - 5) / 2), round((w - 5) / 2))
        for top, left in [(0, 0), (0, w - 5), (h - 5, 0), (h - 5, w - 5), centre]:
            crop = of[:, top : top + 5, left : left + 5]
            every += [crop, crop[:, :, ::-1]]
    rows = np.stack([np.asarray(jax.nn.softmax(net(view))) for view in every])
    assert len(rows) == 20
    found = views.logits(net, jnp.asarray(IMAGES))
    np.testing.assert_allclose(jnp.exp(found), rows.mean(0), rtol=1e-4)
    scores = np.stack([np.asarray(net(view)) for view in every]).mean(0)
    found = views.logits(net, jnp.asarray(IMAGES), probabilities=False)
    np.testing.assert_allclose(found, scores, rtol=1e-4)


def test_a_view_without_chance_leaves_a_finite_logarithm():
    def sure(images):
        return jnp.array([[0.0, -1e4]]) * jnp.ones((len(images), 1))

    found = Views(flip=True).logits(sure, jnp.asarray(IMAGES))
    assert np.isfinite(found).all()


def test_words():
    assert Views().words == ""
    assert Views().is_plain
    views = Views(flip=True, crops="five", crop_size=28, scales=(1.0, 1.25))
    assert views.words == "five crops of 28 pixels, scaled by 1, 1.25, mirrored"
    assert not views.is_plain


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crops": "ten"}, "crops 'ten'.*config.eval.crops"),
        ({"crop_size": 3}, "config.eval.crops is 'whole': give 'centre' or 'five'"),
        ({"scales": (0.0,)}, "config.eval.scales is 0"),
    ],
)
def test_wrong_values(changes, words):
    with pytest.raises(UserError, match=words):
        Views(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eval__crops": "five", "eval__crop_size": 5}, "do not fit images of 4 x 4"),
        ({"eval__crops": "five"}, "five crops of 4 x 4 pixels are all the whole image"),
        ({"eval__scales": (1.5,)}, "6 x 6 pixels, and MLP takes images of the size"),
        ({"eval__flip": True, "eval__statistics": "batch"}, "views .mirrored. would"),
    ],
)
def test_what_a_net_or_an_image_does_not_allow(changes, words):
    with pytest.raises(UserError, match=words):
        tiny_run(**changes)


def test_nets_that_take_any_size_see_whole_images_of_several():
    tiny_run("resnet20_cifar", RESNET, eval__scales=(1.0, 1.5))
    tiny_run(eval__scales=(1.5,), eval__crops="five")  # crops of 4 of 6 pixels


def test_the_last_evaluation_takes_the_views_and_says_so(tmp_path):
    run = tiny_run(eval__flip=True, train__steps=3)
    (result,) = fit(run, tmp_path).results
    assert result["evaluated"]["views"] == "mirrored"
    by = {
        views: predict([tmp_path], views=views) for views in (Views(), run.eval.views)
    }
    losses = {v: scores(p.probabilities[0], p.labels).loss for v, p in by.items()}
    loss = result["final"]["test"]["loss"]
    assert loss == pytest.approx(losses[Views(flip=True)], rel=1e-4)
    assert loss != pytest.approx(losses[Views()], rel=1e-4)
