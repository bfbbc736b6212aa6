"""Runs that start from files of published weights."""

import hashlib
import os
import pathlib

import jax
import numpy as np
import pytest
from flax import traverse_util

from cnnjax import interop
from cnnjax.data.standardize import Statistics
from cnnjax.errors import UserError
from cnnjax.interop import preparation
from cnnjax.models.registry import create_model
from cnnjax.net.initialize import init_variables
from cnnjax.run.setup import initial_state, set_up
from tests.run.tiny import tiny_config

NET = {"depth": 8, "widths": (4, 8, 16)}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Weights of a small net of 10 classes as a public port names them."""
    net = create_model("resnet20_cifar", **NET)
    variables = jax.tree.map(lambda leaf: leaf[0], init_variables(net, (8, 8, 3), (7,)))
    arrays = interop.to_torch("resnet20_cifar", variables, "cifar", **NET)
    path = tmp_path_factory.mktemp("published") / "net.npz"
    np.savez(path, **arrays)
    return path, traverse_util.flatten_dict(variables, sep="/")


def config_of(path, **changes):
    own = {"start__weights": str(path), "start__source": "cifar"}
    own |= {"data__image_size": 8, "augment__standardize": "pixel_mean"}
    return tiny_config("resnet20_cifar", NET, **(own | changes))


def test_a_head_of_other_classes_is_drawn_anew(file):
    path, variables = file
    run = set_up(config_of(path))
    state = initial_state(run)
    found = traverse_util.flatten_dict(
        {"params": state.params, **state.model_state}, sep="/"
    )
    for name, leaf in variables.items():
        if not name.startswith("params/head"):
            np.testing.assert_array_equal(found[name][0], leaf)
    assert run.began.drawn == ("params/head/bias", "params/head/kernel")
    words = run.began.words()
    assert "taken are stem, stage1, stage2, stage3, drawn anew head" in words
    assert run.config.start.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_head_of_as_many_classes_is_taken(file):
    path, variables = file
    run = set_up(config_of(path, data__num_classes=10, start__drawn=()))
    assert not run.began.drawn
    kernel = initial_state(run).params["head"]["kernel"][0]
    np.testing.assert_array_equal(kernel, variables["params/head/kernel"])


def test_published_weights_bring_their_standardisation_unless_told_otherwise(file):
    run = set_up(config_of(file[0]))
    mean, std = preparation.IMAGENET
    np.testing.assert_allclose(np.ravel(run.preprocess.statistics.mean), mean)
    np.testing.assert_allclose(np.ravel(run.preprocess.statistics.std), std)
    assert run.config.augment.standardize == "channel"
    assert "mean (0.485, 0.456, 0.406)" in run.began.words()
    own = set_up(config_of(file[0], start__preprocess="own"))
    assert own.config.augment.standardize == "pixel_mean"
    assert isinstance(own.preprocess.statistics, Statistics)
    assert own.preprocess.statistics.mean.shape == (1, 8, 8, 3)


def test_names_that_two_ports_share_need_a_source(file):
    with pytest.raises(UserError, match=r"of cifar and of cifar_append.*start\.source"):
        set_up(config_of(file[0], start__source=""))


def test_a_file_that_was_changed_is_refused(file, tmp_path):
    path = tmp_path / "net.npz"
    path.write_bytes(file[0].read_bytes())
    config = set_up(config_of(path)).config
    with np.load(path) as arrays:
        np.savez(path, **{name: array * 2 for name, array in arrays.items()})
    with pytest.raises(UserError, match="are not those of this run"):
        set_up(config)


REAL = pathlib.Path(os.environ.get("CNNJAX_REAL_DATA", "")) / "resnet20-12fca82f.th"


@pytest.mark.skipif(not REAL.is_file(), reason="CNNJAX_REAL_DATA has no such file")
def test_the_published_resnet_20_starts_a_run():
    pytest.importorskip("torch", reason="reads files of torch: extra `peers`")
    config = tiny_config(
        "resnet20_cifar",
        data__image_size=8,
        data__num_classes=10,
        start__weights=str(REAL),
        start__source="cifar",
    )
    state = initial_state(set_up(config))
    ours = interop.load("resnet20_cifar", REAL, source="cifar")
    found = traverse_util.flatten_dict(state.params)
    for path, leaf in traverse_util.flatten_dict(ours["params"]).items():
        np.testing.assert_array_equal(found[path][0], leaf)


@pytest.mark.slow
def test_a_file_of_torchvision_starts_a_net_of_other_classes(tmp_path):
    shape = (32, 32, 3)
    drawn = init_variables(create_model("resnet18"), shape, (7,))
    variables = jax.tree.map(lambda leaf: leaf[0], drawn)
    path = tmp_path / "resnet18.npz"
    np.savez(path, **interop.to_torch("resnet18", variables, "torchvision"))
    config = tiny_config("resnet18", data__image_size=32, start__weights=str(path))
    run = set_up(config)
    assert run.began.drawn == ("params/head/bias", "params/head/kernel")
    assert "torchvision" in run.began.words()  # timm has the same names and function
    taken = initial_state(run).params["stem_conv"]["kernel"][0]
    np.testing.assert_array_equal(taken, variables["params"]["stem_conv"]["kernel"])
