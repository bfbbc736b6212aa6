"""Suite train: one optimizer step in cnnjax, in plain Linen and in torch's ways."""

import dataclasses
import os
import shutil
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from benchmarks.elsewhere import Elsewhere, interleave_processes
from benchmarks.machine import matmul
from benchmarks.nets import FAMILIES, NETS, Net, named
from benchmarks.rows import TORCH, Row, rows_of
from cnnjax.devices import parallel
from cnnjax.devices.compile_cache import use_compile_cache
from cnnjax.net.forward import forward_train
from cnnjax.run.programs import compile_programs
from cnnjax.run.setup import Run, initial_state, set_up

# Steps per dispatch.
STEPS = 2
# The memory of each step from the system, as by default: `cnnjax.devices.allocator`.
RETURNED = {"MALLOC_MMAP_MAX_": "65536"}
# Way -> variables of the environment of its process.
WAYS: dict[str, dict[str, str]] = {
    "cnnjax": {},
    "cnnjax, memory returned": RETURNED,
    "cnnjax without oneDNN": {},
    "plain Linen": {},
}


def suite(options) -> list[Row]:
    """Rows for every net whose name contains `options.only`."""
    rows = []
    for name, net in named(options.only, NETS | FAMILIES).items():
        ours = WAYS if name in NETS else tuple(WAYS)[:2]
        ways = {way: WAYS[way] for way in ours}
        if options.against == "torch":
            ways |= {way: {} for way in torch_ways()}
        rows += compare(name, net, ways, options.rounds)
    return rows


def torch_ways() -> tuple[str, ...]:
    """The ways of torch on this machine."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        print(f"torch compiled is skipped: there is no {compiler}", file=sys.stderr)
        return TORCH[:2]
    return TORCH


def compare(name: str, net: Net, ways: dict[str, dict], rounds: int) -> list[Row]:
    """Measures one net in all ways, each in a process of its own."""
    run = set_up(net.config(STEPS))
    processes = []
    try:
        for way, variables in ways.items():
            code = "from benchmarks.suites.train import build\n"
            code += f"step, units = build({way!r}, {name!r})"
            processes.append(Elsewhere(way, code, variables))
        times, notes = interleave_processes(processes, matmul(), rounds=rounds)
    finally:
        for process in processes:
            process.close()
    peers = [way for way in ways if way in TORCH]
    return rows_of(
        name,
        times,
        # The best of torch.
        min(peers or ["plain Linen"], key=lambda way: times[way].median),
        unit="step",
        images=net.batch_size,
        # Gradients cost twice the forward pass; a multiply-add is two operations.
        flops=3 * 2 * run.multiply_adds * net.batch_size,
        notes=notes,
    )


def build(way: str, name: str) -> tuple[Callable[[], object], int]:
    """The step of a net in one way, and how many optimizer steps a call takes."""
    net = (NETS | FAMILIES)[name]
    use_compile_cache()
    if way == "plain Linen":
        return plain_linen(set_up(separate_blocks(net)), net), 1
    run = set_up(net.config(STEPS))
    if way not in TORCH:
        return training(run, "xla" if "without" in way else "auto"), STEPS
    from benchmarks.peers import torch_nets

    peer = torch_nets.build(net.model, run.num_params)
    batch = torch_nets.images_like(net.batch_size, net.image_size, net.num_classes)
    if way == "torch eager":
        peer, batch = torch_nets.channels_first(peer, *batch)
    if way == "torch compiled":
        peer = torch_nets.compiled(peer)
    return torch_nets.training_step(peer, *batch), 1


def training(run: Run, impl: str):
    """A function that runs some steps in one dispatch of cnnjax's own program."""
    settings = dataclasses.replace(run.train, impl=impl)
    run = dataclasses.replace(run, train=settings)
    state = initial_state(run)
    programs = compile_programs(run, state)
    holder = [parallel.to_device(state)]

    def steps():
        holder[0], rows = programs.advance(holder[0], 0, STEPS)
        return jax.block_until_ready(rows)

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
