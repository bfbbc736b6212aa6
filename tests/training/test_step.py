"""The training step and the chunk of steps: pure functions of state, data and seed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data.order import batch_indices
from cnnjax.errors import UserError
from cnnjax.net.forward import forward_train
from cnnjax.run.delivery import resident_batches, resident_data
from cnnjax.run.setup import initial_state
from cnnjax.training.chunk import make_train_chunk
from cnnjax.training.loss import KINDS, cross_entropy, smooth
from cnnjax.training.state import stream_key
from cnnjax.training.step import make_train_step
from tests.run.tiny import RESNET, tiny_run

NOISY = {
    "augment__crop_pad": 1,
    "augment__flip": True,
    "optimizer__clip_norm": 1.0,
    "loss__label_smoothing": 0.1,
    "train__ema_decay": 0.9,
}


def step_of(run):
    """(state, batch) -> (state, metrics), at the first learning rate."""
    step = make_train_step(
        run.model, run.optimizer, run.augment.train, run.train.microbatches, run.loss
    )
    return lambda state, batch: step(state, batch, run.schedule(0), run.hyperparameters)


def chunk_of(run, max_steps):
    """(state, data, seed, num_steps) -> (state, rows), at the first learning rate."""
    chunk = make_train_chunk(
        make_train_step(run.model, run.optimizer, run.augment.train),
        resident_batches(run.train.batch_size, len(run.dataset.train)),
        max_steps=max_steps,
    )
    rates = jnp.full(max_steps, run.schedule(0), jnp.float32)
    return lambda *arguments: chunk(*arguments, rates, run.hyperparameters)


def start(run):
    return jax.tree.map(lambda leaf: leaf[0], initial_state(run))


def first_batch(run, seed=0):
    train = run.dataset.train
    return {
        "images": train.images[:8],
        "labels": train.labels[:8],
        "seed": np.int32(seed),
    }


def assert_equal_trees(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@functools.cache
def noisy_run():
    return tiny_run(arguments={"dropout_rate": 0.3}, **NOISY)


@functools.cache
def noisy_step():
    return jax.jit(step_of(noisy_run()))


@functools.cache
def chunk_in_one_call():
    """Seven steps, through two epoch ends, and the program that took them."""
    run = noisy_run()
    data = resident_data(run.dataset)
    program = jax.jit(chunk_of(run, max_steps=7))
    return program, program(start(run), data, np.int32(5), np.int32(7))


def test_the_same_inputs_give_the_same_outputs():
    run, step = noisy_run(), noisy_step()
    state = start(run)
    before = jax.tree.map(np.copy, state)
    first = step(state, first_batch(run))
    assert_equal_trees(first, step(state, first_batch(run)))
    assert_equal_trees(state, before)
    assert int(first[0].step) == 1


def test_streams_differ_by_step_and_seed():
    run, step = noisy_run(), noisy_step()
    state = start(run)

    def loss(step_number, seed):
        other = state.replace(step=np.int32(step_number))
        return float(step(other, first_batch(run, seed))[1]["loss"][0])

    losses = [loss(*at) for at in ((0, 0), (1, 0), (0, 1), (1, 1))]
    assert len(set(losses)) == 4


def test_streams_are_apart():
    keys = {
        tuple(jax.random.key_data(stream_key(seed, stream, step)).tolist())
        for seed in (0, 1)
        for stream in ("shuffle", "augment", "dropout")
        for step in (None, 0, 1)
    }
    assert len(keys) == 18


@pytest.mark.parametrize("changed", ["augment", "dropout"])
def test_each_source_of_noise_has_its_own_stream(changed):
    """With one source alone, its loss differs from step to step and is repeatable."""
    run = (
        tiny_run(arguments={"dropout_rate": 0.3})
        if changed == "dropout"
        else tiny_run(augment__crop_pad=1)
    )
    step, state = jax.jit(step_of(run)), start(run)
    losses = [
        float(step(state.replace(step=np.int32(i)), first_batch(run))[1]["loss"][0])
        for i in (0, 1, 0)
    ]
    assert losses[0] == losses[2] != losses[1]


def test_the_update_is_that_of_a_step_by_hand():
    """Gradient of the mean smoothed loss, clipped; coupled decay, momentum, average."""
    run, step = noisy_run(), noisy_step()
    state, batch = start(run), first_batch(run, seed=3)
    new, metrics = step(state, batch)

    key = stream_key(3, "augment", 0)
    images, targets = run.augment.train(key, batch["images"], batch["labels"])

    @jax.value_and_grad
    def loss(params):
        logits, *_ = forward_train(
            run.model, params, state.model_state, images, stream_key(3, "dropout", 0)
        )
        return cross_entropy(logits, smooth(targets, 0.1)).mean()

    value, grads = jax.jit(loss)(state.params)
    norm = np.sqrt(sum(float((g**2).sum()) for g in jax.tree.leaves(grads)))
    factor = min(1.0, 1.0 / norm)
    rate, decay = 0.1, 1e-4
    expected = jax.tree.map(
        lambda w, g: w - rate * (factor * g + decay * w), state.params, grads
    )
    # float32: two programs for the same sum differ in the last digits.
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, new.params, expected)
    moved = {"params": expected, "model_state": new.model_state}
    average = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, state.ema, moved)
    jax.tree.map(close, new.ema, average)
    close(metrics["loss"][0] / metrics["loss"][1], value)
    close(metrics["grad_norm"][0], norm)
    counts = {name: float(count) for name, (_, count) in metrics.items()}
    assert counts == {"loss": 8, "errors": 8, "grad_norm": 1}


def test_mixed_targets_reach_the_loss():
    run = tiny_run()

    def mixing(weight):
        def augment(key, images, labels):
            images, targets = run.augment.train(key, images, labels)
            return images, weight * targets + (1 - weight) * targets[::-1]

        step = make_train_step(run.model, run.optimizer, augment)
        arguments = start(run), first_batch(run), 0.1, run.hyperparameters
        return jax.jit(step)(*arguments)[1]["loss"][0]

    np.testing.assert_allclose(mixing(0.3), 0.3 * mixing(1.0) + 0.7 * mixing(0.0), 1e-5)
    assert mixing(1.0) != mixing(0.0)


def test_errors_are_counted_against_the_labels():
    run = tiny_run(train__dtype="float32")
    state, batch = start(run), first_batch(run)
    _, metrics = jax.jit(step_of(run))(state, batch)
    images, _ = run.augment.train(jax.random.key(0), batch["images"], batch["labels"])
    logits, *_ = forward_train(
        run.model, state.params, state.model_state, images, jax.random.key(0)
    )
    assert metrics["errors"][0] == np.sum(np.argmax(logits, -1) != batch["labels"])


def test_bfloat16_computes_in_it_and_keeps_float32():
    run = tiny_run("resnet20_cifar", RESNET, train__dtype="bfloat16")
    state = start(run)
    step = step_of(run)
    new, metrics = jax.jit(step)(state, first_batch(run))
    floats = [new.params, new.model_state, new.opt_state, metrics]
    types = {leaf.dtype for leaf in jax.tree.leaves(floats)}
    assert types <= {jnp.dtype("float32"), jnp.dtype("int32")}
    full = tiny_run("resnet20_cifar", RESNET)
    _, exact = jax.jit(step_of(full))(start(full), first_batch(full))
    ratio = float(metrics["loss"][0] / exact["loss"][0])
    assert ratio != 1.0  # 8 bits of mantissa: about 2 to 3 digits
    assert ratio == pytest.approx(1, abs=0.05)
    text = str(jax.make_jaxpr(step)(state, first_batch(run)))
    convolutions = [line for line in text.splitlines() if "conv_general" in line]
    assert convolutions
    assert all("bf16" in line.split("=")[0] for line in convolutions)


def test_a_chunk_is_its_steps():
    """Same order of data, same numbers, whatever the size of the dispatch."""
    run = noisy_run()
    data, seed = resident_data(run.dataset), np.int32(5)
    program, (together, rows) = chunk_in_one_call()
    assert rows["loss"][0].shape == (7,)

    one_by_one, singles = start(run), []
    for _ in range(7):
        one_by_one, row = program(one_by_one, data, seed, np.int32(1))
        singles.append(jax.tree.map(lambda r: r[0], row))
        assert not jax.tree.leaves(row)[0][1:].any()  # zeros behind the steps taken
    # The same compiled program: bit for bit.
    assert_equal_trees(together, one_by_one)
    stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *singles)
    assert_equal_trees(rows, stacked)


def test_another_chunk_size_is_another_program_for_the_same_numbers():
    run = noisy_run()
    data, seed = resident_data(run.dataset), np.int32(5)
    _, (together, rows) = chunk_in_one_call()
    small = jax.jit(chunk_of(run, max_steps=2))
    state, losses = start(run), []
    for num_steps in (2, 2, 1, 2):
        state, row = small(state, data, seed, np.int32(num_steps))
        losses += row["loss"][0][:num_steps].tolist()
    # Two programs may round differently; seven steps of float32.
    np.testing.assert_allclose(losses, rows["loss"][0], rtol=1e-5)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, state.params, together.params)


def test_a_chunk_takes_the_batches_of_the_stream():
    """Against a Python loop over `batch_indices` and the bare step."""
    run, step = noisy_run(), noisy_step()
    data, seed = resident_data(run.dataset), 5
    state = start(run)
    losses = []
    for i in range(7):
        chosen = np.asarray(batch_indices(stream_key(seed, "shuffle"), i, 8, 24))
        batch = {name: data[name][chosen] for name in ("images", "labels")}
        state, metrics = step(state, batch | {"seed": np.int32(seed)})
        losses.append(float(metrics["loss"][0]))
    _, (_, rows) = chunk_in_one_call()
    np.testing.assert_allclose(rows["loss"][0], losses, rtol=1e-5)


def test_each_step_of_a_chunk_has_its_own_rate():
    """A rate of 0 moves nothing; the steps after it go on from the same weights."""
    run = tiny_run()
    chunk = jax.jit(
        make_train_chunk(
            make_train_step(run.model, run.optimizer, run.augment.train),
            resident_batches(8, 24),
            max_steps=3,
        )
    )
    data = resident_data(run.dataset)

    def kernel(num_steps, *rates):
        rates = np.array(rates, np.float32)
        arguments = start(run), data, np.int32(0), np.int32(num_steps)
        return chunk(*arguments, rates, run.hyperparameters)[0].params["head"]["kernel"]

    initial = start(run).params["head"]["kernel"]
    np.testing.assert_array_equal(kernel(1, 0.0, 1.0, 1.0), initial)
    np.testing.assert_array_equal(kernel(2, 0.1, 0.0, 1.0), kernel(1, 0.1, 1.0, 1.0))
    assert np.abs(kernel(2, 0.0, 0.1, 0.0) - initial).max() > 1e-3


def test_training_learns_the_training_set():
    run = tiny_run(train__steps=90, optimizer__momentum=0.9)
    program = jax.jit(chunk_of(run, max_steps=90))
    data = resident_data(run.dataset)
    _, rows = program(start(run), data, np.int32(0), np.int32(90))
    assert rows["errors"][0][:3].sum() > 8
    assert rows["errors"][0][-3:].sum() == 0


@pytest.mark.parametrize("microbatches", [1, 2])
def test_an_l2_term_is_coupled_weight_decay(microbatches):
    more = {
        "norm__kind": "group",
        "train__microbatches": microbatches,
        "optimizer__decay_exclude": ("norm",),
    }
    net = ("resnet20_cifar", RESNET)
    as_term = tiny_run(*net, loss__l2=0.1, optimizer__weight_decay=0.0, **more)
    as_decay = tiny_run(*net, loss__l2=0.0, optimizer__weight_decay=0.1, **more)
    a, b = (
        jax.jit(step_of(run))(start(run), first_batch(run))[0].params
        for run in (as_term, as_decay)
    )
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), a, b)
    first = start(as_term).params["stem_conv"]["kernel"]
    assert np.abs(a["stem_conv"]["kernel"] - first).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_loss_goes_down(kind):
    run = tiny_run(loss__kind=kind, schedule__learning_rate=0.02)
    step, state, losses = jax.jit(step_of(run)), start(run), []
    for _ in range(8):
        state, metrics = step(state, first_batch(run))
        losses.append(float(metrics["loss"][0]))
    assert losses[-1] < 0.9 * losses[0]


def test_a_hinge_and_mixed_images_are_refused():
    with pytest.raises(UserError, match=r"one class for each.*augment.mixup_alpha"):
        tiny_run(loss__kind="hinge", augment__mixup_alpha=0.2)
