"""Trained nets out of the folders of their runs: they do what was reported of them."""

import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from cnnjax import load_run
from cnnjax.data.dataset import load_dataset
from cnnjax.data.request import Request
from cnnjax.data.standardize import STANDARDIZE
from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped
from cnnjax.net.initialize import init_variables
from cnnjax.records import read_json, write_json
from cnnjax.run.checkpoints.manager import Checkpoints
from cnnjax.run.setup import initial_state, set_up
from cnnjax.run.trained import load
from cnnjax.seal import sealed
from tests.run.tiny import RESNET, fit, tiny_config, tiny_run
from tests.slow import slow, slow_but

TWO_SEEDS = {"seeds__count": 2, "data__image_size": 6, "data__num_test": 40}
# Eager operations compile one by one: as few as can be.
_apply = jax.jit(lambda net, v, x: net.apply(v, x, train=False), static_argnums=0)


def measured(net, images, labels):
    """Test error in percent and loss of a loaded net, by NumPy from its logits."""
    logits = np.asarray(_apply(net.network, net.variables, net.preprocess(images)))
    shifted = logits - logits.max(-1, keepdims=True)
    loss = np.log(np.exp(shifted).sum(-1)) - shifted[np.arange(len(labels)), labels]
    return 100 * np.sum(logits.argmax(-1) != labels) / len(labels), loss.mean()


def assert_reported(net, row, images, labels, loss_rtol=1e-4):
    error, loss = measured(net, images, labels)
    assert error == row["error"] == net.test_error
    np.testing.assert_allclose(loss, row["loss"], rtol=loss_rtol)


def resnet(**changes):
    return tiny_run("resnet20_cifar", RESNET, **(TWO_SEEDS | changes))


def mlp(**changes):
    """As it has batch norm too, and compiles in less time."""
    return tiny_run(**(TWO_SEEDS | changes))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run with two seeds, stacked blocks and averaged weights."""
    folder = tmp_path_factory.mktemp("trained") / "mine"
    run = resnet(model__scan_blocks=True, train__ema_decay=0.5, model__depth=8)
    return run, folder, fit(run, folder).results


@pytest.fixture
def copied(trained, tmp_path):
    """The same somewhere else, to be changed."""
    return shutil.copytree(trained[1], tmp_path / "elsewhere" / "mine")


@pytest.mark.slow
@pytest.mark.parametrize("standardize", slow_but(["pixel_mean"], STANDARDIZE))
def test_the_reported_error_from_the_stored_images(standardize, tmp_path):
    run = mlp(augment__standardize=standardize)
    results = fit(run, tmp_path / "mine").results
    test = run.dataset.test
    for seed, result in enumerate(results):
        for weights, row in (
            ("last", result["final"]["test"]),
            ("best", result["best"]["test"]),
        ):
            net = load_run(tmp_path / "mine", weights, seed)
            assert_reported(net, row, test.images, test.labels)
            assert (net.weights, net.seed, net.arm) == (weights, seed, "mine")
            assert net.class_names == run.dataset.class_names
            assert net.config.train.steps == 9


def test_stacked_blocks_and_a_folder_that_was_moved(trained, copied):
    run, _, results = trained
    net = load_run(copied, "last", 1)
    assert net.network == run.model  # as trained, and its variables fit it
    test = run.dataset.test
    assert_reported(net, results[1]["final"]["test"], test.images, test.labels)
    plain = net.plain()
    assert "stage1_block3" in plain.variables["params"]
    assert "stage1_block3" not in net.variables["params"]
    error, _ = measured(plain, test.images, test.labels)
    assert error == net.test_error


def test_averaged_weights(tmp_path):
    run = mlp(train__ema_decay=0.5, eval__weights="ema")
    results = fit(run, tmp_path).results
    test = run.dataset.test
    for weights, row in (
        ("ema", results[1]["final"]["test"]),
        ("best", results[1]["best"]["test"]),
    ):
        net = load_run(tmp_path, weights, 1)
        assert_reported(net, row, test.images, test.labels)
    assert load_run(tmp_path, "last", 1).test_error is None  # was not evaluated


def test_re_estimated_statistics_are_those_of_the_reported_error(tmp_path):
    run = mlp(eval__statistics="precise", eval__precise_batches=2)
    results = fit(run, tmp_path).results
    test = run.dataset.test
    rows = results[1]["final"]["test"], results[1]["best"]["test"]
    for weights, row in zip(("last", "best"), rows, strict=True):
        net = load_run(tmp_path, weights, 1)
        assert_reported(net, row, test.images, test.labels)
        assert "re-estimated" not in net.note
    (tmp_path / "statistics.safetensors").unlink()  # as in runs of earlier versions
    net = load_run(tmp_path, "last", 1)
    assert "re-estimated statistics, which the folder does not hold" in net.note
    _, loss = measured(net, test.images, test.labels)
    assert not np.isclose(loss, rows[0]["loss"], rtol=1e-4)


def test_statistics_of_the_batch_are_named(tmp_path):
    fit(mlp(eval__statistics="batch"), tmp_path)
    assert "statistics of each batch" in load_run(tmp_path, "last").note


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        slow({"norm__kind": "layer"}),
        {"train__dtype": "bfloat16"},
        {"parallel__layout": "data=2", "parallel__shard_state": True},
        slow({"parallel__layout": "seed=2", "parallel__mode": "pmap"}),
    ],
    ids=str,
)
def test_other_norms_types_and_layouts(changes, tmp_path):
    run = resnet(**changes) if "train__dtype" in changes else mlp(**changes)
    results = fit(run, tmp_path).results
    net, test = load_run(tmp_path, "best", 1), run.dataset.test
    assert ("batch_stats" in net.variables) == ("norm__kind" not in changes)
    row, rough = results[1]["best"]["test"], "train__dtype" in changes
    _, loss = measured(net, test.images, test.labels)
    np.testing.assert_allclose(loss, row["loss"], rtol=1e-2 if rough else 1e-4)


def test_initial_weights_are_those_of_the_seed(trained):
    run, folder, _ = trained
    net = load_run(folder, "initial", 1)
    drawn = init_variables(run.model, run.dataset.image_shape, (1,))
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a, b[0]), net.variables, drawn
    )
    assert (net.step, net.test_error) == (0, None)


def test_initial_weights_of_another_distribution(tmp_path):
    run = mlp(init__scale=0.5)
    fit(run, tmp_path)
    drawn = initial_state(run).params["head"]["kernel"][1]
    net = load_run(tmp_path, "initial", 1)
    np.testing.assert_array_equal(net.variables["params"]["head"]["kernel"], drawn)


def test_a_folder_of_images_that_is_gone(tmp_path):
    """Pixels of the files, of other sizes than the net's, are all that is given."""
    draw = np.random.RandomState(0)
    stored, labels = [], []
    for split, count in (("train", 9), ("test", 8)):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(count):
                size = (*draw.randint(7, 12, 2), 3)
                pixels = draw.randint(0, 256, size, np.uint8)
                place = tmp_path / "data" / split / name / f"{i}.png"
                Image.fromarray(pixels).save(place)
                if split == "test":
                    stored.append(pixels)
                    labels.append(label)
    config = tiny_config(augment__standardize="pixel_mean")
    for key, value in {"name": "folder", "data_dir": str(tmp_path / "data")}.items():
        config.data[key] = value
    for key in ("num_train", "num_validation", "num_test", "num_classes"):
        config.data[key] = 0
    run = set_up(config)
    results = fit(run, tmp_path / "run").results
    shutil.rmtree(tmp_path / "data")
    net = load_run(tmp_path / "run", "last")
    assert net.class_names == ("cat", "dog")
    assert_reported(net, results[0]["final"]["test"], stored, np.array(labels))
    (tmp_path / "run/preprocessing.json").unlink()
    with pytest.raises(UserError, match=r"has no preprocessing.json.*data_dir"):
        load_run(tmp_path / "run", "last")


def test_runs_of_earlier_versions(trained, copied):
    """They kept no preprocessing, and no statistics of the averaged weights."""
    run, folder, _ = trained
    (copied / "preprocessing.json").unlink()
    with Checkpoints(copied / "checkpoints", keep_last=None) as checkpoints:
        step, leaves, metadata = checkpoints.restore_latest(None)
    shutil.rmtree(copied / "checkpoints")
    old = {
        name.replace("state.ema.params.", "state.ema."): leaf
        for name, leaf in leaves.items()
        if not name.startswith("state.ema.model_state.")
    }
    with Checkpoints(copied / "checkpoints", keep_last=1) as checkpoints:
        checkpoints.save(step, old, metadata)
    net, new = load_run(copied, "ema"), load_run(folder, "ema")
    assert "measured again" in net.note
    assert "statistics of the raw weights" in net.note
    images = run.dataset.test.images
    np.testing.assert_array_equal(net.preprocess(images), new.preprocess(images))
    for collection, other in (("params", "ema"), ("batch_stats", "last")):
        jax.tree.map(
            np.testing.assert_array_equal,
            net.variables[collection],
            load_run(folder, other).variables[collection],
        )
    provenance = read_json(copied / "provenance.json")
    provenance["data"]["fingerprint"] = "0" * 16
    write_json(copied / "provenance.json", provenance)
    with pytest.raises(UserError, match="trained on other data"):
        load_run(copied, "ema")


def test_an_interrupted_run_says_its_step(tmp_path):
    run = mlp(eval__every_epochs=2.0)
    with pytest.raises(Stopped):
        fit(run, tmp_path, stop_at=3)
    net = load_run(tmp_path, "last", 1)
    assert (net.step, net.test_error) == (3, None)
    assert "unfinished: step 3 of 9" in net.note
    with pytest.raises(UserError, match=r"validated up to step 3.*last \(step 3\), in"):
        load_run(tmp_path, "best", 1)
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(UserError, match=r"none yet.*weights='initial'"):
        load_run(tmp_path, "last", 1)
    assert load_run(tmp_path, "initial", 1).step == 0


def test_choices_that_are_not_there(copied, tmp_path):
    with pytest.raises(UserError, match=r"unknown weights 'final'.*last"):
        load_run(copied, "final")
    with pytest.raises(UserError, match=r"no seed 7: it has 0, 1 \(seed"):
        load_run(copied, "last", 7)
    with pytest.raises(UserError, match="no folder"):
        load_run(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no run \(no config.json\)"):
        load_run(tmp_path / "empty")
    path = copied / "seed-1/result.json"
    failed = {"status": "failed", "reason": "the loss became non-finite at step 4"}
    failed |= {"final": None, "best": None}
    write_json(path, sealed(read_json(path) | failed, path.parent / "metrics.jsonl"))
    with pytest.raises(UserError, match=r"non-finite at step 4\): .* did not: 0; "):
        load_run(copied, "last", 1)
    assert load_run(copied, "last", 0).test_error is not None
    write_json(path, read_json(path) | {"crashed": True})
    assert "unfinished" in load_run(copied, "last", 1).note


def test_weights_that_were_not_kept(tmp_path):
    fit(mlp(eval__keep_best=False), tmp_path)
    with pytest.raises(UserError, match=r"keep_best was False.*last \(step 9\), init"):
        load_run(tmp_path)
    with pytest.raises(UserError, match=r"ema_decay was 0\): it has last"):
        load_run(tmp_path, "ema")


def test_a_checkpoint_of_another_form_of_the_net(copied, monkeypatch):
    """As another version may build it; a config of another run is refused before."""
    config = read_json(copied / "config.json")
    config["model"]["depth"] = 14
    write_json(copied / "config.json", config)
    with pytest.raises(UserError, match="config_hash"):
        load_run(copied, "last")
    for path in copied.glob("seed-*/result.json"):
        path.unlink()
    with pytest.raises(UserError, match=r"another config than .*depth: 8 -> 14"):
        load_run(copied, "last")
    monkeypatch.setattr(load, "differences", lambda *configs: [])
    with pytest.raises(UserError, match="stage1_block4/norm1/mean is missing there"):
        load_run(copied, "last")


@pytest.mark.slow
def test_folds_and_more_seeds_of_an_arm(tmp_path):
    """The cells of an ablation, as `plan.py` names them."""
    arm = tmp_path / "sweep" / "wide"
    folded = tiny_config(data__num_folds=3, data__fold=1, data__num_train=0)
    run = set_up(folded, load_dataset(Request(**folded.data)))
    results = fit(run, arm / "fold-1", name="wide/fold-1").results
    write_json(arm.parent / "plan.json", {"arms": [{"name": "wide"}]})
    net, test = load_run(arm / "fold-1", "last"), run.dataset.test
    assert net.arm == "wide/fold-1"
    assert_reported(net, results[0]["final"]["test"], test.images, test.labels)
    with pytest.raises(UserError, match=r"was cross-validated: .*\(fold-1\)"):
        load_run(arm, "last")
    with pytest.raises(UserError, match=r"whole ablation: .*\(wide\)"):
        load_run(arm.parent, "last")

    plain = tmp_path / "sweep" / "plain"
    fit(tiny_run(), plain, name="plain")
    fit(tiny_run(seeds__first=1), plain / "seeds-1", name="plain/seeds-1")
    net = load_run(plain, "last", 1)
    assert (net.arm, net.seed) == ("plain/seeds-1", 1)
    with pytest.raises(UserError, match="no seed 2: it has 0, 1"):
        load_run(plain, "last", 2)
