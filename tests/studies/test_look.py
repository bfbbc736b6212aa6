"""`look`: the page and its files, what it refuses, and views that do not apply."""

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cnnjax.data.dataset import load_dataset
from cnnjax.errors import UserError
from cnnjax.run.settings import data_request
from cnnjax.studies.look import of_arms, program, subject
from cnnjax.studies.look.start import Asked, show_inside
from tests.ablation.synthetic_sweep import write_sweep
from tests.data.sources import small_imagenet as small
from tests.run.tiny import RESNET, fit, tiny_config, tiny_run

NOTHING = Asked(
    workdirs=[],
    model="",
    weights=[],
    source="torchvision",
    seeds=[],
    views=[],
    layer="",
    image=0,
    split="test",
    data="",
    images="",
    data_dir="",
    mean=[],
    std=[],
    most=16,
    grid=3,
    out="",
)


def asked(**changes):
    return dataclasses.replace(NOTHING, **changes)


OPTIONS = {"data__image_size": 8, "data__num_test": 24}


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A net without maps, on images of 8 pixels."""
    folder = tmp_path_factory.mktemp("trained") / "flat"
    fit(tiny_run(**OPTIONS), folder)
    return str(folder)


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    """A residual net on the same images, with a probe."""
    folder = tmp_path_factory.mktemp("trained") / "res"
    probes = {"eval__probes": ("gradient_norms",)}
    fit(tiny_run("resnet20_cifar", RESNET, **OPTIONS, **probes), folder)
    return str(folder)


def check_page(out, names):
    """One file without anything from elsewhere, no id twice, all pictures beside it."""
    page = (out / "look.html").read_text()
    for name in names:
        assert f'<section id="{name}">' in page
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "cannot be drawn" not in page
    pictures = sorted(path.stem for path in out.glob("*.png"))
    assert pictures == sorted(path.stem for path in out.glob("*.svg"))
    assert pictures
    return page


def test_before_and_after_training(flat, tmp_path):
    options = {"workdirs": [flat], "weights": ["initial", "last"]}
    for views in (["signals"], ["filters"]):  # the second replaces the first
        show_inside(asked(**options, views=views, out=str(tmp_path)))
    assert not list(tmp_path.glob("signals*"))
    page = check_page(tmp_path, ["filters"])
    assert "initial: dense1, 8×8×3" in page
    arrays = np.load(tmp_path / "filters.npz")
    assert set(arrays["initial_units"]) == set(arrays["last_units"]) == set(range(6))


def test_seeds_side_by_side(tmp_path):
    folder = tmp_path / "two"
    fit(tiny_run(**OPTIONS, seeds__count=2), folder)
    given = asked(workdirs=[str(folder)], seeds=["0", "1"], views=["filters"])
    show_inside(dataclasses.replace(given, out=str(tmp_path / "out")))
    page = check_page(tmp_path / "out", ["filters"])
    assert "seed 0: dense1" in page
    assert "seed 1: dense1" in page


def test_what_only_bears_a_name_of_ours_stays(flat, tmp_path):
    mine = tmp_path / "filters-mine.png"
    mine.write_text("mine")
    with pytest.raises(UserError, match=r"holds filters-mine\.png, which is not ours"):
        show_inside(asked(workdirs=[flat], views=["filters"], out=str(tmp_path)))
    assert mine.read_text() == "mine"


@pytest.mark.slow
def test_all_views_of_two_nets(residual, flat, tmp_path):
    show_inside(asked(workdirs=[residual, flat], out=str(tmp_path)))
    page = check_page(tmp_path, program.VIEWS)
    assert "flat: this net has no maps" in page
    assert "flat: no Grad-CAM" in page
    assert "res: probe gradient_norms" in page
    for name in program.VIEWS:
        assert (tmp_path / f"{name}.npz").is_file()


@pytest.mark.slow
def test_the_plane_through_weights(residual, tmp_path):
    options = {"workdirs": [residual], "weights": ["initial", "best", "last"]}
    show_inside(asked(**options, views=["landscape"], out=str(tmp_path)))
    assert "plane through these weights" in check_page(tmp_path, ["landscape"])


def test_a_net_without_maps_says_so(flat, tmp_path):
    given = asked(workdirs=[flat], views=["maps"], out=str(tmp_path))
    show_inside(given)
    page = (tmp_path / "look.html").read_text()
    assert "this net has no maps: its layers give one vector" in page


def test_filters_of_an_arrays_file(tmp_path):
    """Images by themselves: no classes, and initial weights."""
    images = np.random.RandomState(0).randint(0, 256, (20, 8, 8, 3)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", images=images)
    given = asked(model="mlp", images=str(tmp_path / "x.npz"), out=str(tmp_path / "o"))
    show_inside(dataclasses.replace(given, views=["filters"]))
    arrays = np.load(tmp_path / "o" / "filters.npz")
    assert arrays["mlp_kernels"].shape[1:] == (8, 8, 3)
    show_inside(dataclasses.replace(given, views=["landscape"]))
    page = (tmp_path / "o" / "look.html").read_text()
    assert "a loss needs the classes of the images, and none are known" in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "either runs .* neither"),
        ({"workdirs": ["a"], "model": "mlp"}, "not both"),
        ({"workdirs": ["a"], "views": ["filter"]}, "view 'filter'.*filters"),
        ({"workdirs": ["a"], "weights": ["x.th"]}, "--weights=x.th is not known"),
        ({"workdirs": ["a"], "mean": ["0"]}, "--mean is for --model"),
        ({"workdirs": ["a"], "seeds": ["0", "x"]}, "--seed takes seeds .* not 0,x"),
        ({"workdirs": ["nowhere"]}, "there is no folder nowhere"),
        ({"model": "mlp"}, "needs images to look at"),
        ({"model": "mpl", "data": "digits"}, "mpl"),
        ({"model": "mlp", "images": "none.npz"}, "none.npz cannot be read"),
        ({"model": "mlp", "data": "digits", "split": "tset"}, "split 'tset'"),
        ({"model": "mlp", "data": "digits", "layer": "dens1"}, "you mean dense1"),
        ({"model": "mlp", "data": "digits", "image": 99}, "--image=99 is not there"),
        ({"model": "mlp", "data": "digits", "std": ["0"]}, "not above 0"),
        ({"model": "mlp", "data": "digits", "std": ["a"]}, "--std takes numbers"),
        ({"model": "mlp", "data": "digits", "mean": ["1", "2"]}, "--mean has 2 numb"),
    ],
)
def test_what_is_refused(changes, words, tmp_path):
    with pytest.raises(UserError, match=words):
        show_inside(asked(out=str(tmp_path / "out"), **changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_arrays_that_are_no_images(dtype, tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 8, 8, 3), dtype))
    with pytest.raises(UserError, match=r"no array 'images', uint8"):
        show_inside(asked(model="mlp", images=str(tmp_path / "x.npz")))


def test_what_others_have_in_a_folder_stays(flat, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    given = asked(workdirs=[flat], out=str(tmp_path))
    with pytest.raises(UserError, match=r"holds notes\.txt, which is not ours.*--out"):
        show_inside(given)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.fixture
def cut(tmp_path, monkeypatch):
    """The request of a run on photographs, and what stands in for the run."""
    root = small.folders(tmp_path / "set")
    config = tiny_config(
        data__name="imagenet",
        data__data_dir=str(root),
        data__image_size=6,
        data__channels=3,
        data__num_classes=0,
        geometry__evaluation="resize_crop",
        geometry__fraction=0.5,
    )
    for split in ("train", "validation", "test"):
        config.data[f"num_{split}"] = 0
    dataset = load_dataset(data_request(config))
    parts = SimpleNamespace(
        config=config, ours={"data_fingerprint": dataset.fingerprint}
    )
    monkeypatch.setattr(subject, "parts_of", lambda *_, **__: parts)
    return dataset, parts


def test_pictures_of_a_run_are_those_it_evaluates(cut):
    dataset, parts = cut
    pictures = subject.pictures_of_run("a", 0, "", "test", 10)
    images, labels = dataset.test.read(np.arange(len(dataset.test)))
    np.testing.assert_array_equal(pictures.images, images)
    np.testing.assert_array_equal(pictures.labels, labels)
    parts.config.geometry.evaluation = "center"
    with pytest.raises(UserError, match=r"trained on other images.*--data_dir"):
        subject.pictures_of_run("a", 0, "", "test", 10)


def test_pictures_may_lie_elsewhere(cut, tmp_path):
    (tmp_path / "set").rename(tmp_path / "moved")
    moved = subject.pictures_of_run("a", 0, str(tmp_path / "moved"), "test", 10)
    assert len(moved.images) == len(small.VALIDATION)
    with pytest.raises(UserError, match="does not exist"):
        subject.pictures_of_run("a", 0, "", "test", 10)


def test_views_of_arms(tmp_path, monkeypatch):
    """Each cell once; one that cannot be looked at does not keep the others from it."""
    folder, asked_for, said = write_sweep(tmp_path / "laptop"), [], []

    def show(given):
        asked_for.append(given)
        if len(asked_for) == 1:
            raise UserError("its weights are gone")

    monkeypatch.setattr(of_arms, "show_inside", show)
    of_arms.look_at_arms(folder, ["space"], said.append, "elsewhere")
    plan = json.loads((folder / "plan.json").read_text())
    names = [cell["name"] for arm in plan["arms"] for cell in arm["cells"]]
    assert [given.workdirs for given in asked_for] == [[str(folder / n)] for n in names]
    assert {(*given.views, given.data_dir) for given in asked_for} == {
        ("space", "elsewhere")
    }
    assert f"{names[0]}  not looked at: its weights are gone" in said


def test_views_of_no_ablation(flat):
    with pytest.raises(UserError, match=r"--views draws the arms of an ablation"):
        of_arms.look_at_arms(Path(flat), ["all"], print)
