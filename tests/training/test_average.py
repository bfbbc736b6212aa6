"""Moving averages against torch and timm, and what they are evaluated with."""

import functools
import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped
from cnnjax.records import read_json
from cnnjax.run import loop
from cnnjax.run.cautions import cautions
from cnnjax.run.checkpoints.saved import restore_latest
from cnnjax.run.delivery import resident_batches, resident_data
from cnnjax.run.folder import RunFolder
from cnnjax.run.setup import initial_state, saved_example
from cnnjax.training.average import long_decay, move_average, statistics_used
from cnnjax.training.chunk import make_train_chunk
from cnnjax.training.state import weights_of
from cnnjax.training.step import make_train_step, mean_of_shards
from tests.run.tiny import fit, rows_of, tiny_run

DECAY, NUM_STEPS = 0.8, 5


# -- the real thing --------------------------------------------------------------------


@functools.cache
def states():
    """The states of a net with batch norm before training and after each of 5 steps."""
    run = tiny_run(train__ema_decay=DECAY)
    chunk = jax.jit(
        make_train_chunk(
            make_train_step(run.model, run.optimizer, run.augment.train),
            resident_batches(8, 24),
            max_steps=1,
        )
    )
    data, rates = resident_data(run.dataset), np.full(1, 0.1, np.float32)
    state = jax.tree.map(lambda leaf: leaf[0], initial_state(run))
    seen = [state]
    for _ in range(NUM_STEPS):
        arguments = data, np.int32(0), np.int32(1), rates, run.hyperparameters
        state, _ = chunk(state, *arguments)
        seen.append(jax.device_get(state))
    return run, seen


def in_torch(params, model_state):
    """The same net there, with these weights and statistics."""
    nn = pytest.importorskip("torch", reason="compares with torch").nn
    import torch

    net = nn.Sequential(
        nn.Flatten(),
        nn.Linear(48, 6, bias=False),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Linear(6, 3),
    )
    norm, head = params["norm1"], params["head"]
    stats = model_state["batch_stats"]["norm1"]
    values = {
        "1.weight": params["dense1"]["kernel"].T,
        "2.weight": norm["scale"],
        "2.bias": norm["bias"],
        "2.running_mean": stats["mean"],
        "2.running_var": stats["var"],
        "2.num_batches_tracked": np.array(0),
        "4.weight": head["kernel"].T,
        "4.bias": head["bias"],
    }
    values = {name: torch.tensor(np.array(value)) for name, value in values.items()}
    net.load_state_dict(values)
    return net


def average_of_torch(first):
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    average = AveragedModel(
        first, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True
    )
    average.update_parameters(first)  # it starts with a copy of what it sees first
    return average.module, average.update_parameters


def average_of_timm(first):
    spec = importlib.util.find_spec("timm")
    if spec is None:
        pytest.skip("compares with timm: extra `peers`")
    # The file alone: the whole of timm takes seconds to import.
    path = Path(spec.origin).parent / "utils" / "model_ema.py"
    spec = importlib.util.spec_from_file_location("timm_model_ema", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    average = module.ModelEmaV3(first, decay=DECAY)
    return average.module, average.update


@pytest.mark.parametrize("library", [average_of_torch, average_of_timm])
def test_parameters_and_statistics_are_averaged_as_there(library):
    _, seen = states()
    average, update = library(in_torch(*weights_of(seen[0], "raw")))
    for state in seen[1:]:
        update(in_torch(*weights_of(state, "raw")))
        ours = in_torch(*weights_of(state, "ema")).state_dict()
        for name, value in average.state_dict().items():
            np.testing.assert_allclose(
                ours[name], value, rtol=1e-5, atol=1e-6, err_msg=name
            )
    raw = seen[-1].model_state["batch_stats"]["norm1"]
    averaged = seen[-1].ema["model_state"]["batch_stats"]["norm1"]
    assert np.abs(raw["var"] - averaged["var"]).max() > 0.01


def test_the_error_of_averaged_weights_is_that_of_torch(tmp_path):
    """All the way: what `fit` writes, by torch with the averages of the checkpoint."""
    torch = pytest.importorskip("torch", reason="compares with torch")
    run = tiny_run(train__ema_decay=DECAY, eval__weights="ema", train__steps=30)
    (result,) = fit(run, tmp_path).results
    assert result["evaluated"] == {"weights": "ema", "statistics": "averaged"}
    params, model_state = weights_of(last(tmp_path, run)["state"], "ema")
    one = jax.tree.map(lambda leaf: leaf[0], (params, model_state))
    images = run.augment.preprocess(run.dataset.test.images)
    images = torch.tensor(np.asarray(images).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        logits = in_torch(*one).eval()(images)
    labels = torch.tensor(run.dataset.test.labels, dtype=torch.long)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    assert result["final"]["test"]["loss"] == pytest.approx(float(loss), rel=1e-4)


def test_what_is_no_float_is_taken_over():
    old = {"count": np.int32(3), "mean": np.float32(1)}
    new = {"count": np.int32(4), "mean": np.float32(2)}
    moved = move_average(old, new, np.float32(0.75))
    assert (moved["count"], moved["mean"]) == (4, 1.25)
    assert moved["count"].dtype == np.int32


def test_micro_batches_leave_counters_as_they_are():
    """Two shards, each of which has counted the step: their sum over two."""
    got = mean_of_shards({"count": np.int32(8), "mean": np.float32(3)}, 2)
    assert (got["count"], got["mean"]) == (4, 1.5)
    assert got["count"].dtype == np.int32


# -- a decay that is too long ----------------------------------------------------------


@pytest.mark.parametrize(
    ("decay", "num_steps", "fitting"),
    [(0.998, 304, 0.984), (0.9999, 1000, 0.9954), (0.9, 9, 0.59), (0.5, 1, 0.01)],
)
def test_a_long_decay_is_named_with_one_that_fits(decay, num_steps, fitting):
    sentence = long_decay(decay, num_steps, "averaged")
    assert (
        f"config.train.ema_decay={decay:g} is long for {num_steps:,} steps" in sentence
    )
    assert f"{100 * decay**num_steps:.0f}% of the moving average" in sentence
    assert f"up to {fitting} would leave at most 1%" in sentence
    assert fitting**num_steps <= 0.01
    assert "statistics=precise" in sentence
    assert "precise" not in long_decay(decay, num_steps, "precise")
    assert "precise" not in long_decay(decay, num_steps, None)
    assert long_decay(fitting, num_steps, "averaged") is None


def test_no_word_without_an_average_or_with_a_short_one():
    assert long_decay(0.0, 1, "running") is None
    assert long_decay(0.998, 2000, "averaged") is None


def test_it_is_said_before_training():
    said = cautions(tiny_run(train__ema_decay=0.99))["average"]
    assert said.startswith("config.train.ema_decay=0.99 is long for 9 steps")


# -- the statistics of the best weights ------------------------------------------------


def last(path, run):
    accept = RunFolder(path, run, "tiny").check_metadata
    with loop.Checkpoints(path / "checkpoints", keep_last=None) as checkpoints:
        return restore_latest(checkpoints, run, saved_example(run), accept)[1]


@pytest.mark.parametrize(
    ("weights", "statistics", "judged", "reported"),
    [
        ("raw", "precise", "running", "precise"),
        ("raw", "batch", "running", "batch"),
        ("ema", "running", "averaged", "averaged"),
        ("ema", "precise", "precise", "precise"),
    ],
)
def test_the_best_carry_the_statistics_that_they_were_judged_with(
    tmp_path, monkeypatch, weights, statistics, judged, reported
):
    run = tiny_run(
        train__ema_decay=0.3,
        eval__weights=weights,
        eval__statistics=statistics,
        eval__precise_batches=2,
        schedule__learning_rate=0.5,  # errors go up and down
    )
    compiled = []
    compile_programs = loop.compile_programs
    monkeypatch.setattr(
        loop,
        "compile_programs",
        lambda *args: compiled.append(compile_programs(*args)) or compiled[0],
    )
    (result,) = fit(run, tmp_path).results
    best = result["best"]
    assert result["evaluated"] == {"weights": weights, "statistics": reported}
    assert best["validation_statistics"] == judged
    kept = last(tmp_path, run)["best"]
    (programs,) = compiled
    (again,) = programs.evaluate(*run.parallel.put(kept), ["validation"])["validation"]
    rows = [r for r in rows_of(tmp_path) if r.get("split") == "validation"]
    (row,) = [r for r in rows if r["step"] == best["step"]]
    assert again["error"] == best["validation_error"]
    if best["step"] < run.total_steps:  # the last row is of the last evaluation
        assert (again["loss"], again["error"]) == (row["loss"], row["error"])
    (test,) = programs.evaluate(
        kept[0],
        programs.final_statistics(*run.parallel.put(kept)),
        ["test"],
        final=True,
    )["test"]
    assert test == best["test"]


def test_without_statistics_none_are_named(tmp_path):
    run = tiny_run(norm__kind="layer", eval__statistics="precise")
    assert run.evaluated(final=True) == {"weights": "raw", "statistics": None}


def test_only_the_last_evaluation_is_by_batch():
    assert statistics_used("batch", "ema", final=True) == "batch"
    assert statistics_used("batch", "ema", final=False) == "averaged"
    assert statistics_used("batch", "raw", final=False) == "running"


# -- checkpoints from before -----------------------------------------------------------


def test_a_checkpoint_of_averaged_parameters_alone_goes_on(tmp_path, monkeypatch):
    """The running statistics of the raw weights stand in, and a sentence says so."""
    run = tiny_run(train__ema_decay=0.5, eval__weights="ema", seeds__count=2)
    save = loop.save

    def as_before(checkpoints, run, step, tree, metadata):
        state = tree["state"]
        tree = tree | {"state": state.replace(ema=state.ema["params"])}
        save(checkpoints, run, step, tree, metadata)

    monkeypatch.setattr(loop, "save", as_before)
    with pytest.raises(Stopped):
        fit(run, tmp_path, stop_at=3)
    record = tmp_path / "checkpoints" / "3" / "record" / "metadata"
    assert "state.ema.head.kernel" in read_json(record)["leaves"]
    state = last(tmp_path, run)["state"]
    jax.tree.map(
        np.testing.assert_array_equal, state.ema["model_state"], state.model_state
    )
    assert np.abs(state.ema["params"]["head"]["bias"]).max() > 0
    assert np.any(state.ema["params"]["head"]["bias"] != state.params["head"]["bias"])
    monkeypatch.undo()
    resumed = fit(run, tmp_path)
    assert resumed.shown.first_step == 3
    (sentence,) = resumed.warnings
    assert "checkpoints/3 is of a version that averaged parameters alone" in sentence
    assert [result["status"] for result in resumed.results] == ["done", "done"]
    assert fit(run, tmp_path).warnings == []


def test_another_net_is_still_refused(tmp_path):
    run = tiny_run(train__ema_decay=0.5)
    with pytest.raises(Stopped):
        fit(run, tmp_path, stop_at=3)
    other = tiny_run(arguments={"widths": (7,)}, train__ema_decay=0.5)
    with (
        loop.Checkpoints(tmp_path / "checkpoints", keep_last=None) as checkpoints,
        pytest.raises(UserError, match="does not fit this model"),
    ):
        restore_latest(checkpoints, other, saved_example(other), lambda _: None)
