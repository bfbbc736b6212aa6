"""The generic recipe: every net of the registry on every data set that is known."""

import pytest

import cnnjax
from cnnjax.errors import UserError
from cnnjax.models.registry import VARIANTS, create_model
from cnnjax.recipes.generic import choice_of, dataset_of, recipe_name
from cnnjax.run.setup import set_up
from tests.slow import slow_but

FAST = ["mlp", "convnet_digits", "resnet20_cifar"]


def test_every_net_and_set_has_a_config():
    sets = [*cnnjax.list_datasets(), "tfds:stl10"]
    for number, (name, entry) in enumerate(VARIANTS.items()):
        # Every net, and every set several times, in a second.
        config = cnnjax.recipe(model=name, dataset=sets[number % len(sets)])
        assert config.model.name == name
        assert {key: config.norm[key] for key in entry.norm} == entry.norm
        assert config.data.image_size in (0, entry.input_shape[0])
        module = create_model(**config.model.to_dict(), num_classes=10)
        assert type(module) is entry.build


@pytest.mark.parametrize("name", slow_but(FAST[:2], list(VARIANTS)))
def test_every_net_sets_up(name):
    few = {"num_train": 8, "num_validation": 4, "num_test": 4}
    run = set_up(cnnjax.recipe(model=name, dataset="synthetic", data=few))
    assert run.num_params > 0


@pytest.mark.parametrize("name", slow_but([], FAST))
def test_a_few_train(name, tmp_path):
    run = cnnjax.train(
        model=name, dataset="digits", workdir=tmp_path / "run", train={"steps": 2}
    )
    assert run.rows[0]["status"] == "done"


def test_a_folder_is_a_data_set(tmp_path, monkeypatch):
    (tmp_path / "my photos").mkdir()
    folder = str(tmp_path / "my photos")
    assert dataset_of(folder) == ("folder", folder)
    config = cnnjax.recipe(model="resnet50", dataset=folder)
    assert (config.data.name, config.data.data_dir) == ("folder", folder)
    assert config.geometry.train == "random_resized_crop"
    assert recipe_name("resnet50", folder) == "resnet50-my photos"
    assert choice_of("resnet50", "imagenet") == "resnet50|imagenet|"
    with pytest.raises(UserError, match="there is no folder"):
        dataset_of(f"{folder}/gone")


WRONG = [
    ("train --model=vgg61 --dataset=digits", "'vgg61'", "mean 'vgg19' or 'vgg16'"),
    ("train --model=vgg16 --dataset=cifar11", "'cifar11'", "mean 'cifar10'"),
    ("train --model=vgg16", "--model=vgg16 needs --dataset", "--dataset=digits"),
    ("check --dataset=digits", "--dataset=digits needs --model", "--config"),
    ("find_lr --model=mlp --dataset=gone/x", "no folder 'gone/x'", "each class"),
    ("train --model=mlp --dataset=digits --config=mlp_mnist", "--config=mlp_mnist"),
    ("train --model=mlp --dataset=digits --train.epoch=3", "mean train.epochs"),
    ("train --model=mlp --dataset=digits --config.trian.epochs=3", "trian.epochs"),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case[0])
def test_wrong_flags_are_one_sentence(programs, here, case):
    command, *words = case
    ended = programs.run(here, *command.split())
    assert ended.code == 2, ended
    assert ended.err.count("\n") == 1
    for word in words:
        assert word in ended.err


def test_the_program_says_what_it_chose(programs, here):
    words = "--dataset digits --model=mlp --dry_run --train.epochs=2 --seeds=2"
    ended = programs.run(here, "train", *words.split())
    assert ended.code == 0, ended
    assert "generic recipe for mlp on digits" in ended.out
    assert "schedule.learning_rate=0.01" in ended.out
    assert "changed: train.epochs: 30.0 -> 2.0" in ended.out
    assert not (here / "runs").exists()
