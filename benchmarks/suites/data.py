"""Suite data: the cost of selecting, augmenting and delivering batches."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.idle import profile_training
from benchmarks.measure import interleave
from benchmarks.nets import NETS
from benchmarks.rows import Row, rows_of
from cnnjax.data.order import chunk_indices
from cnnjax.devices import parallel
from cnnjax.run.delivery import resident_data
from cnnjax.run.programs import compile_programs
from cnnjax.run.setup import Run, initial_state, set_up
from cnnjax.training.state import stream_key

BATCHES = 8
NET = "CIFAR ResNet-20, batch 128"
AUGMENTED = "crop, flip, standardize, batch 128"
DISPATCH = "CIFAR ResNet-20, batch 128, by steps a dispatch"
PROFILED = "digits resnet-20, one training with logs and validations"


def suite(options) -> list[Row]:
    """Delivery alone, and the gain of several steps in one dispatch."""
    rows = []
    if options.only.lower() in AUGMENTED:
        rows += delivery(options)
    if options.only.lower() in DISPATCH.lower():
        rows += dispatch(options)
    if options.only.lower() in PROFILED:
        rows.append(occupancy())
    return rows


def augmented_run() -> Run:
    config = NETS[NET].config(BATCHES)
    config.augment.crop_pad = 4
    config.augment.flip = True
    return set_up(config)


def delivery(options) -> list[Row]:
    """Batches made within the training program, against loaders of torch."""
    run = augmented_run()
    batch_size = run.train.batch_size
    program, arguments = delivering(run)
    ways = {"cnnjax, in the program": lambda: program(*arguments)}
    units, reference = {"cnnjax, in the program": BATCHES}, "cnnjax, in the program"
    if options.against == "torch":
        from benchmarks.peers import torch_data

        images = np.asarray(run.dataset.train.images)
        labels = np.asarray(run.dataset.train.labels)
        for way, batches in torch_data.ways(images, labels, batch_size).items():
            ways[way], units[way] = batches, BATCHES
    times = interleave(ways, rounds=options.rounds)
    return rows_of(
        AUGMENTED, times, reference, unit="batch", units=units, images=batch_size
    )


def delivering(run: Run):
    """A program that makes batches and reduces each to one number."""
    data = parallel.to_device(resident_data(run.dataset))
    batch_size = run.train.batch_size

    def deliver(data, seed):
        order = chunk_indices(
            stream_key(seed, "shuffle"), 0, BATCHES, batch_size, len(run.dataset.train)
        )

        def body(i, total):
            chosen = order[i]
            key = stream_key(seed, "augment", i)
            images, targets = run.augment.train(
                key, data["images"][chosen], data["labels"][chosen]
            )
            # All pixels are used, or XLA would remove the computation.
            return total + images.sum() + targets.sum()

        return jax.lax.fori_loop(0, BATCHES, body, jnp.float32(0))

    arguments = (data, np.int32(0))
    program = parallel.compile_program(deliver, arguments)
    return (lambda *a: jax.block_until_ready(program(*a))), arguments


def dispatch(options) -> list[Row]:
    """The same steps one by one, and several per dispatch."""
    ways = {f"{n} a dispatch": stepping(n) for n in (1, BATCHES)}
    times = interleave(ways, rounds=options.rounds)
    return rows_of(
        DISPATCH,
        times,
        "1 a dispatch",
        unit="step",
        units=BATCHES,
        images=NETS[NET].batch_size,
    )


def stepping(per_dispatch: int):
    config = NETS[NET].config(BATCHES)
    config.train.steps_per_dispatch = per_dispatch
    run = set_up(config)
    state = initial_state(run)
    programs = compile_programs(run, state)
    holder = [parallel.to_device(state)]

    def steps():
        for _ in range(BATCHES // per_dispatch):
            holder[0], _ = programs.advance(holder[0], 0, per_dispatch)
        jax.block_until_ready(holder[0])

    return steps


def occupancy() -> Row:
    """The time the device waits for the host, in a run on data in memory."""
    share, seconds, steps = profile_training()
    note = f"the device computes {100 * share:.1f}% of the time, by a profile"
    return Row(PROFILED, "cnnjax", seconds / steps, "step", note=note)
