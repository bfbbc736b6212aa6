"""A streamed set trains, evaluates and resumes as the same set in memory does."""

import dataclasses
import threading

import jax
import numpy as np
import pytest
from PIL import Image

from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped
from cnnjax.run import delivery, loop
from cnnjax.run.delivery import Streamed
from cnnjax.run.programs import compile_programs, dispatch_steps, memory
from cnnjax.run.setup import SPLITS, initial_state
from tests.run.laid_out import MODES, assert_close, assert_equal
from tests.run.tiny import RESNET, fit, rows_of, tiny_run
from tests.slow import slow

# 9 steps of 8 images, three an epoch; two seeds; noise from every stream; the estimate
# of statistics takes three dispatches.
NOISY = {
    "arguments": {"dropout_rate": 0.2},
    "augment__crop_pad": 1,
    "augment__cutout": 2,
    "seeds__count": 2,
    "train__steps_per_dispatch": 2,
    "eval__statistics": "precise",
    "eval__precise_batches": 5,
}
LESS = {"eval__statistics": "running", "eval__keep_best": False}  # to compile
OF_DELIVERY = ("cost", "config_hash", "data_fingerprint", "digest")


def streamed_run(**changes):
    return tiny_run(**(NOISY | changes), data__delivery="streaming")


def numbers(fitted, path):
    """Results and rows of metrics, without what tells one delivery from the other."""
    results = [
        {k: v for k, v in result.items() if k not in OF_DELIVERY}
        for result in fitted.results
    ]
    return results, [rows_of(path, seed) for seed in (0, 1)]


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    names = [t.name for t in threading.enumerate() if t.name.startswith("read-ahead")]
    assert not names


@pytest.fixture(scope="module")
def streamed():
    return streamed_run()


@pytest.fixture(scope="module")
def programs(streamed):
    return compile_programs(streamed, initial_state(streamed))


@pytest.fixture
def compiled_once(programs, monkeypatch):
    """A run that is started many times is compiled once."""

    def lookup(run, state, shared=None):
        return dataclasses.replace(programs, run=run, delivery=Streamed(run, 2))

    monkeypatch.setattr(loop, "compile_programs", lookup)


@pytest.fixture(scope="module")
def resident(tmp_path_factory):
    """The numbers of the set in memory."""
    path = tmp_path_factory.mktemp("resident")
    return numbers(fit(tiny_run(**NOISY, data__delivery="resident"), path), path)


@pytest.mark.usefixtures("compiled_once")
def test_the_same_to_the_bit(resident, streamed, tmp_path):
    assert numbers(fit(streamed, tmp_path), tmp_path) == resident


@pytest.mark.parametrize("stops", [slow((2,)), (5, 6)])
@pytest.mark.usefixtures("compiled_once")
def test_a_stopped_run_goes_on_bit_for_bit(resident, streamed, tmp_path, stops):
    for stop_at in stops:
        with pytest.raises(Stopped, match=f"stopped at step {stop_at}"):
            fit(streamed, tmp_path, stop_at)
    assert numbers(fit(streamed, tmp_path), tmp_path) == resident


# -- other sources, one step a dispatch ------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 7, 6, 3), np.uint8)
    for i, image in enumerate(pixels):
        path = tmp_path / "set" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "set"


def trained(run, programs=None, num_steps=4):
    """State, rows and errors after a few steps, one dispatch after the other."""
    start = initial_state(run)
    programs = programs or compile_programs(run, start)
    state, rows = run.parallel.put(start), []
    for step in range(0, num_steps, programs.max_steps):
        num = min(programs.max_steps, num_steps - step)
        then = num_steps - step - num
        state, row = programs.advance(state, step, num, min(num, then))
        rows.append(row)
    params, model_state = programs.weights(state)
    evaluated = [programs.evaluate(params, model_state, SPLITS)]
    if run.eval.statistics == "precise":
        model_state = programs.final_statistics(params, model_state)
        evaluated.append(programs.evaluate(params, model_state, SPLITS))
    programs.close()
    rows = jax.tree.map(lambda *parts: np.concatenate(parts, axis=-1), *rows)
    return run.parallel.to_host(state), rows, evaluated


@pytest.mark.slow
def test_a_folder_one_step_a_dispatch(pictures):
    """With convolutions, and batches that run on across the ends of epochs."""

    def run(delivery):
        return tiny_run(
            "resnet20_cifar",
            RESNET,
            data__name="folder",
            data__data_dir=str(pictures),
            data__num_classes=0,
            data__num_train=20,
            data__image_size=6,
            data__delivery=delivery,
            train__steps_per_dispatch=1,
            **LESS,
        )

    assert_equal(trained(run("streaming")), trained(run("resident")))


# -- layouts ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_one_device(streamed, programs):
    return trained(streamed, programs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode",
    ["jit", *(pytest.param(mode, marks=pytest.mark.slow) for mode in MODES[1:])],
)
def test_every_mode(on_one_device, mode):
    layout = {"parallel__layout": "seed=2,data=4", "parallel__mode": mode}
    state, rows, evaluated = on_one_device
    assert_close(trained(streamed_run(**layout, **LESS)), (state, rows, evaluated[:1]))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layout", ["seed=2,data=4", "data=4", "seed=2"])
def test_every_layout_with_precise_statistics(on_one_device, layout, mode):
    run = streamed_run(parallel__layout=layout, parallel__mode=mode)
    assert_close(trained(run), on_one_device)


# -- what is read, and how much is held ------------------------------------------------


def test_dispatches_are_as_long_as_their_images_may_be(monkeypatch):
    # 8 images of 4 x 4 x 3 bytes for each of 2 seeds.
    changes = {"train__steps_per_dispatch": 0}
    monkeypatch.setattr(delivery, "DISPATCH_BYTES", 2 * (2 * 8 * 48) + 1)
    assert Streamed.most_steps(streamed_run(**changes)) == 2
    assert dispatch_steps(streamed_run(**changes)) == 2
    assert dispatch_steps(tiny_run(**(NOISY | changes))) > 2
    monkeypatch.setattr(delivery, "DISPATCH_BYTES", 1)
    assert dispatch_steps(streamed_run(**changes)) == 1


def test_what_was_made_ready_is_what_is_taken(streamed):
    images = Streamed(streamed, 2)
    first = images.take(0, 2)
    images.prepare(2, 1)
    ready = images.take(2, 1)
    assert_equal(images.take(2, 1), ready)  # read again
    images.prepare(3, 2)
    assert_equal(images.take(0, 2), first)  # not what was made ready
    images.close()
    assert first["images"].shape == (2, 2, 8, 4, 4, 3)
    assert not np.asarray(ready["images"])[:, 1].any()


@pytest.mark.slow
def test_memory_shows_the_images_of_two_dispatches(streamed):
    run = streamed_run(parallel__layout="seed=2", train__steps_per_dispatch=100, **LESS)
    table = memory(run)
    # One seed a device: its steps of 8 images of 48 bytes, with labels of 4.
    steps = dispatch_steps(run)
    images = steps * 8 * (48 + 4)
    assert table["train"]["waiting"] == images
    leaves = jax.tree.leaves(initial_state(run))
    state = sum(np.asarray(leaf[0]).nbytes for leaf in leaves)
    assert 0 <= table["train"]["arguments"] - state - images < 1024
    kinds = ("arguments", "results", "temporary", "waiting")
    assert table["train"]["peak"] == sum(table["train"][kind] for kind in kinds)


@pytest.mark.usefixtures("compiled_once")
def test_a_broken_image_ends_a_run_in_a_sentence(streamed, tmp_path):
    """And no thread stays behind."""
    train = streamed.dataset.train

    def read(pool, indices):
        if train.indices[-1] in indices:
            raise UserError("image is broken")
        return train.source_read(pool, indices)

    broken = dataclasses.replace(train, source_read=read)
    dataset = dataclasses.replace(streamed.dataset, train=broken)
    with pytest.raises(UserError, match="image is broken"):
        fit(dataclasses.replace(streamed, dataset=dataset), tmp_path)


@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_broken_image_that_is_read_late_is_found_before_training(
    streamed, tmp_path, split
):
    """And nothing is written that would stand in the way of a better one."""
    broken = with_reader(streamed, split, lambda _: True)
    with pytest.raises(UserError, match=r"image is broken$"):
        fit(broken, tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert not left & {"config.json", "provenance.json", "data.json", "checkpoints"}


@pytest.mark.usefixtures("compiled_once")
def test_an_image_that_breaks_behind_the_last_step_costs_no_step(streamed, tmp_path):
    broken = with_reader(streamed, "test", bool)
    with pytest.raises(
        UserError, match=r"image is broken; once .* command resumes from"
    ):
        fit(broken, tmp_path)
    again = fit(with_reader(streamed, "test", lambda _: False), tmp_path)
    assert (again.shown.first_step, again.shown.updates) == (9, [])
    assert [result["status"] for result in again.results] == ["done", "done"]


def with_reader(run, split, breaks):
    """A run on files, one split of which breaks; `breaks` hears of train's reading."""
    read = []

    def of_train(pool, indices):
        read.append(len(indices))
        return run.dataset.train.source_read(pool, indices)

    def of_split(pool, indices):
        if breaks(bool(read)):
            raise UserError("image is broken")
        return run.dataset.train.source_read(pool, indices)

    changed = {
        name: dataclasses.replace(
            getattr(run.dataset, name), source_read=reader, from_files=True
        )
        for name, reader in (("train", of_train), (split, of_split))
    }
    dataset = dataclasses.replace(run.dataset, **changed)
    return dataclasses.replace(run, dataset=dataset)
