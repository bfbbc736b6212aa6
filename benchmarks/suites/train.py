"""Suite train: one optimizer step in cnnjax, in plain Linen and in torch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from benchmarks.machine import matmul
from benchmarks.measure import interleave
from benchmarks.nets import Net, named
from benchmarks.rows import Row, rows_of
from cnnjax.devices import parallel
from cnnjax.net.forward import forward_train
from cnnjax.run.programs import compile_programs
from cnnjax.run.setup import Run, initial_state, set_up

# Steps per dispatch.
STEPS = 2


def suite(options) -> list[Row]:
    """Rows for every net whose name contains `options.only`."""
    nets = named(options.only).items()
    return [row for name, net in nets for row in compare(name, net, options)]


def compare(name: str, net: Net, options) -> list[Row]:
    """Measures one net in all ways."""
    run = set_up(net.config(STEPS))
    ways = {
        "cnnjax": training(run, "auto"),
        "cnnjax without oneDNN": training(run, "xla"),
        "plain Linen": plain_linen(set_up(separate_blocks(net)), net),
    }
    units = {"cnnjax": STEPS, "cnnjax without oneDNN": STEPS, "plain Linen": 1}
    reference = "plain Linen"
    if options.against == "torch":
        from benchmarks.peers import torch_nets

        peer = torch_nets.build(net.model, run.num_params)
        batch = torch_nets.images_like(net.batch_size, net.image_size, net.num_classes)
        reference = "torch"
        ways["torch"], units["torch"] = torch_nets.training_step(peer, *batch), 1
    times = interleave(ways | matmul(), rounds=options.rounds)
    return rows_of(
        name,
        times,
        reference,
        unit="step",
        units=units,
        images=net.batch_size,
        # Gradients cost twice the forward pass; a multiply-add is two operations.
        flops=3 * 2 * run.multiply_adds * net.batch_size,
    )


def training(run: Run, impl: str):
    """A function that runs some steps in one dispatch of cnnjax's own program."""
    settings = dataclasses.replace(run.train, impl=impl)
    run = dataclasses.replace(run, train=settings)
    state = initial_state(run)
    programs = compile_programs(run, state)
    holder = [parallel.to_device(state)]

    def steps():
        holder[0], rows = programs.advance(holder[0], 0, STEPS)
        return rows

    return steps


def separate_blocks(net: Net) -> ConfigDict:
    """The config with separate blocks, as in a tutorial."""
    config = net.config(STEPS)
    if "scan_blocks" in config.model:
        config.model.scan_blocks = False
    return config


def plain_linen(run: Run, net: Net):
    """The step of a Flax tutorial: XLA's plain operations, one step per dispatch."""
    optimizer = optax.chain(
        optax.add_decayed_weights(1e-4), optax.sgd(0.01, momentum=0.9)
    )
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), initial_state(run))
    stream = np.random.RandomState(0)
    images = stream.rand(net.batch_size, net.image_size, net.image_size, 3)
    labels = jnp.asarray(stream.randint(net.num_classes, size=net.batch_size))
    images = jnp.asarray(images, jnp.float32)

    def step(params, model_state, opt_state):
        def loss(params):
            key = jax.random.key(0)
            logits, _, new = forward_train(run.model, params, model_state, images, key)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), new

        gradients, new = jax.grad(loss, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), new, opt_state

    example = (state.params, state.model_state, optimizer.init(state.params))
    program = parallel.compile_program(step, example, donate=(0, 1, 2), impl="lax")
    holder = [example]

    def run_step():
        holder[0] = program(*holder[0])
        jax.block_until_ready(holder[0])

    return run_step
