"""Training and ablating from Python: configs, results as arrays, short texts."""

import threading

import numpy as np
import pytest

import cnnjax
from cnnjax.api import frames
from cnnjax.errors import UserError
from cnnjax.interrupt import catching_signals


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two seeds, a few steps, from a folder that holds a package `configs`."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return cnnjax.train(
            model="mlp",
            dataset="digits",
            workdir=folder / "run",
            train={"steps": 4},
            seeds=2,
            verbose=False,
            **{"log.tensorboard": False, "eval.keep_best": False},
        )


def test_results_are_arrays(trained):
    errors = trained.values("test_error")
    assert errors.shape == (2,)
    assert np.isfinite(errors).all()
    assert [row["seed"] for row in trained.rows] == [0, 1]
    assert [row["test_error"] for row in trained.rows] == errors.tolist()
    assert {row["step"] for row in trained.history} >= {4}
    assert trained.load("last", seed=1).test_error == errors[1]
    with pytest.raises(UserError, match="did you mean 'test_error'"):
        trained.values("test_eror")


def test_texts_are_short(trained):
    assert "mlp on digits, 2 of 2 seeds done" in repr(trained)
    digits = cnnjax.load_dataset("digits")
    for thing in (trained, digits, digits.train, trained.load("last")):
        assert len(repr(thing)) < 300
    streamed = cnnjax.load_dataset("digits", delivery="streaming")
    assert "read as needed" in repr(streamed.train)


def test_a_finished_training_is_read(trained):
    again = cnnjax.read_results(trained.workdir)
    assert again.rows == trained.rows
    with pytest.raises(UserError, match="holds no"):
        cnnjax.read_results(trained.workdir / "checkpoints")


def test_a_frame_or_how_to_get_it(trained, monkeypatch):
    monkeypatch.setattr(frames.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"cnnjax\[frame\].*\.history"):
        trained.to_frame("history")
    with pytest.raises(UserError, match="'runs' or 'history'"):
        trained.to_frame("curves")


def test_frames_of_pandas(trained):
    pytest.importorskip("pandas")
    assert list(trained.to_frame().seed) == [0, 1]
    assert len(trained.to_frame("history")) == len(trained.history)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"config": "resnet_digit"}, "did you mean 'resnet_digits'"),
        ({"model": "vgg16"}, "give the name of a recipe, or model and dataset"),
        ({"model": "vgg61", "dataset": "digits"}, "did you mean 'vgg19'"),
        ({"model": "vgg16", "dataset": "cifar11"}, "did you mean 'cifar10'"),
        ({"model": "vgg16", "dataset": "gone/away"}, "there is no folder"),
        ({"config": "resnet_digits", "model": "vgg16"}, "leave the recipe out"),
        ({"config": "resnet_digits", "epochs": 3}, "has no key 'epochs'"),
        ({"config": "resnet_digits", "train": {"epoch": 3}}, "mean train.epochs"),
        ({"config": "resnet_digits", "train": {"epochs": "x"}}, "takes a number"),
    ],
)
def test_wrong_names_are_one_sentence(arguments, words):
    with pytest.raises(UserError, match=words):
        cnnjax.train(**arguments)


def test_wrong_data_and_launchers_are_one_sentence():
    with pytest.raises(UserError, match=r"data\.image_siz.*mean data\.image_size"):
        cnnjax.load_dataset("digits", image_siz=3)
    with pytest.raises(UserError, match="'inline' or 'local'"):
        cnnjax.ablate("degradation", launcher="slurm")
    with pytest.raises(UserError, match="did you mean 'degradation'"):
        cnnjax.ablate("degradatoin")


def test_a_config_is_copied():
    config = cnnjax.recipe("resnet_digits", seeds=3)
    changed = cnnjax.recipe(config, train={"steps": 7})
    assert (config.train.steps, config.train.epochs) == (0, 15.0)
    assert (changed.train.steps, changed.train.epochs) == (7, 0.0)
    assert cnnjax.recipe(changed.to_dict()).to_dict() == changed.to_dict()


def test_signals_are_left_alone_outside_the_main_thread():
    found = []

    def use():
        with catching_signals() as stop:
            found.append(bool(stop))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert found == [False]


def test_the_parts_of_the_analysis():
    for name in cnnjax.analysis.__all__:
        assert callable(getattr(cnnjax.analysis, name))
    with pytest.raises(AttributeError, match="no attribute 'profile_modle'"):
        _ = cnnjax.analysis.profile_modle
