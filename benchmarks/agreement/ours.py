"""The training as cnnjax does it: with its own programs, and its step in float64."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.agreement.choices import Choices, augmented
from cnnjax.devices import parallel
from cnnjax.run.programs import compile_programs
from cnnjax.run.setup import Run, initial_state
from cnnjax.training.step import make_train_step


def trained(run: Run) -> tuple[np.ndarray, float]:
    """(loss of each step, test error in percent) of the first seed, in float32.

    All of it is what `./launch.sh train` runs: the order of the images, augmentation,
    step and evaluation are inside the compiled programs.
    """
    state = initial_state(run)
    programs = compile_programs(run, state)
    state, losses, step = parallel.to_device(state), [], 0
    while step < run.total_steps:
        num = min(programs.max_steps, run.total_steps - step)
        state, rows = programs.advance(state, step, num)
        total, count = rows["loss"]  # [seeds, steps] each
        losses.append(total[0] / count[0])
        step += num
    results = programs.evaluate(state.params, state.model_state, ["test"], final=True)
    programs.close()
    return np.concatenate(losses), results["test"][0]["error"]


def first_losses(run: Run, choices: Choices, num_steps: int) -> np.ndarray:
    """Losses of the first steps in float64, float64 [num_steps].

    The programs of a run hold images and sums in float32, so this calls the step
    itself.
    """
    seed, train = run.seeds[0], run.dataset.train
    with jax.enable_x64(True):
        model = run.model.clone(dtype="float64")
        state = jax.tree.map(lambda leaf: _doubled(leaf[0]), initial_state(run))
        step = jax.jit(
            make_train_step(
                model,
                run.optimizer,
                lambda key, images, labels: (
                    images,
                    jax.nn.one_hot(labels, run.dataset.num_classes, dtype=jnp.float64),
                ),
                kind=run.loss,
            )
        )
        losses = []
        for i in range(num_steps):
            chosen = choices.order[i]
            seen, _ = augmented(run, seed, np.int32(i), train.images[chosen])
            batch = {
                "images": _doubled(seen),
                "labels": jnp.asarray(train.labels[chosen], jnp.int32),
                "seed": np.int32(seed),
            }
            state, metrics = step(
                state, batch, np.float64(choices.rates[i]), run.hyperparameters
            )
            total, count = metrics["loss"]
            losses.append(float(total) / float(count))
    return np.asarray(losses)


def _doubled(leaf):
    leaf = np.asarray(leaf)
    return leaf.astype(np.float64) if leaf.dtype == np.float32 else leaf
