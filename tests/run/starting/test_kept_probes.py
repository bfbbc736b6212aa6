"""A linear probe that is on disk is evaluated by its own weights, without features."""

import shutil

import jax
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped
from cnnjax.net.forward import forward_eval
from cnnjax.record_kinds import CLOSE, EXACT
from cnnjax.records import read_json, write_json
from cnnjax.run import single
from cnnjax.run.cautions import cautions
from cnnjax.run.setup import set_up
from cnnjax.run.trained.load import load_run
from cnnjax.run.trained.verify import verify_run
from cnnjax.training.multi_view import PLAIN, Views
from tests.run.tiny import fit, tiny_config
from tests.slow import slow

NET = {"depth": 4, "widths": (4,)}


def config_of(**changes):
    return tiny_config("resnet20_cifar", NET, **({"norm__kind": "batch"} | changes))


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """A probe whose parent trained on after the probe had ended."""
    folder = tmp_path_factory.mktemp("probe")
    parent = set_up(config_of(schedule__learning_rate=0.5))
    with pytest.raises(Stopped):
        fit(parent, folder / "parent", stop_at=3)
    start = {"start__weights": str(folder / "parent"), "start__trains": "head"}
    run = set_up(config_of(**start))
    assert run.featured
    assert "is unfinished: taken are" in cautions(run)["start"]
    fit(run, folder / "probe")
    fit(parent, folder / "parent")
    assert "start" not in cautions(set_up(config_of(**start)))
    return folder / "probe"


@pytest.fixture(scope="module")
def test_images(probe):
    return set_up(load_run(probe, "last").config).dataset.test


def loss_of(folder, monkeypatch, **changes):
    """The test loss that `evaluate` prints."""
    shown = []
    monkeypatch.setattr(single, "print_errors", lambda rows, note: shown.append(rows))
    given = {"weights": "last", "statistics": "", "data_dir": ""} | changes
    assert single.evaluate(folder, **given) == 0
    return shown[0][0]["test"]["loss"]


def loss_by_hand(folder, images, views=PLAIN):
    net = load_run(folder, "last")
    params, state = net.variables["params"], {}
    state["batch_stats"] = net.variables["batch_stats"]
    given = net.preprocess(images.images)
    flipped = [given, given[:, :, ::-1]] if views.flip else [given]
    shares = [
        jax.nn.softmax(forward_eval(net.network, params, state, one)) for one in flipped
    ]
    chosen = np.mean(shares, axis=0)[np.arange(len(images)), images.labels]
    return float(-np.log(chosen).mean())


def test_a_probe_keeps_its_numbers_when_its_parent_trains_on(probe):
    (row,) = verify_run(probe, "tiny")
    assert row["outcome"] in (EXACT, CLOSE), row["detail"]


@pytest.mark.parametrize("views", [PLAIN, Views(flip=True)])
def test_views_of_a_probe_are_of_its_images(probe, test_images, monkeypatch, views):
    changes = {"views": {"flip": True}} if views.flip else {}
    found = loss_of(probe, monkeypatch, **changes)
    assert found == pytest.approx(loss_by_hand(probe, test_images, views), rel=1e-5)


def test_other_statistics_of_a_probe_are_those_asked_for(probe, monkeypatch):
    running, batch, precise = (
        loss_of(probe, monkeypatch, statistics=statistics)
        for statistics in ("", "batch", "precise")
    )
    assert batch != running
    assert precise == running  # those of norms that stay are not estimated again


@pytest.mark.parametrize("preprocess", ["source", slow("own")])
def test_a_moved_run_is_evaluated_without_what_it_started_from(
    probe, tmp_path, monkeypatch, preprocess
):
    """Its checkpoint has all weights, and its folder the standardisation."""
    moved = shutil.copytree(probe, tmp_path / "moved")
    config = read_json(moved / "config.json")
    config["start"]["folder"] = str(tmp_path / "gone")
    config["start"]["preprocess"] = preprocess
    if preprocess == "own":  # of the same images: the same numbers
        monkeypatch.setattr(single.RunFolder, "check_metadata", lambda *_: None)
    write_json(moved / "config.json", config)
    before = loss_of(probe, monkeypatch)
    assert loss_of(moved, monkeypatch) == before
    with pytest.raises(UserError, match=r"the start weights .*gone/parent are gone"):
        set_up(single.stored_config(moved / "config.json"))
    if preprocess == "source":
        rows = verify_run(moved, "tiny")
        assert {row["outcome"] for row in rows} <= {EXACT, CLOSE}
