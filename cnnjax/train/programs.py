"""The compiled programs of a run, for all of its seeds."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.train import parallel
from cnnjax.train.chunk import make_train_chunk
from cnnjax.train.evaluate import (
    divide,
    make_evaluation,
    make_reestimation,
    split_batches,
)
from cnnjax.train.setup import Run, resident_data, split_sizes
from cnnjax.train.state import TrainState
from cnnjax.train.step import make_train_step

# Multiply-adds that a device does in about two seconds of training: the longest
# dispatch, so that the display moves and Ctrl-C is heard. Rough on purpose.
DISPATCH_WORK = {"cpu": 4e10, "accelerator": 2e13}


def dispatch_steps(run: Run) -> int:
    """Largest number of steps of one dispatch."""
    longest = min(run.interval(run.log.every_epochs), run.total_steps)
    if run.train.steps_per_dispatch:
        return min(run.train.steps_per_dispatch, longest)
    kind = "accelerator" if parallel.is_accelerated() else "cpu"
    fitting = int(DISPATCH_WORK[kind] * run.total_steps / run.work())
    return max(1, min(longest, fitting))


@dataclasses.dataclass(frozen=True)
class Programs:
    """What the training loop calls.

    Args:
      run: what they were made from.
      data: resident data, on the device.
      seeds: int32 [S].
      batches: batches of each split for evaluation.
      max_steps: largest number of steps of one dispatch.
      train: (state, data, seeds, num_steps) -> (state, rows).
      evaluation: (params, model_state, data, indices, mask, num_batches) -> sums.
    """

    run: Run
    data: Any
    seeds: np.ndarray
    batches: dict[str, tuple]
    max_steps: int
    train: parallel.Program
    evaluation: parallel.Program

    @property
    def compile_seconds(self) -> float:
        return self.train.compile_seconds + self.evaluation.compile_seconds

    def advance(self, state: TrainState, num_steps: int) -> tuple[TrainState, Any]:
        """Trains; gives the rows on the host, [S, num_steps] each."""
        state, rows = self.train(state, self.data, self.seeds, np.int32(num_steps))
        rows = parallel.to_host(rows)
        return state, jax.tree.map(lambda row: row[:, :num_steps], rows)

    def evaluate(self, params: Any, model_state: Any, split: str) -> list[dict]:
        """Evaluates one split; one dict a seed."""
        sums = parallel.to_host(
            self.evaluation(params, model_state, self.data, *self.batches[split])
        )
        return [
            divide({name: value[i] for name, value in sums.items()})
            for i in range(len(self.seeds))
        ]

    def weights(self, state: TrainState) -> tuple[Any, Any]:
        """(params, model_state) that the evaluation settings ask for while training."""
        return state.ema if self.run.eval.weights == "ema" else state.params, (
            state.model_state
        )

    def final_statistics(self, params: Any, model_state: Any) -> Any:
        """Model state for the last evaluation: running, or estimated precisely."""
        run = self.run
        if run.eval.statistics == "running":
            return model_state
        reestimate = make_reestimation(
            run.model,
            run.augment.train,
            batch_size=run.train.batch_size,
            num_train=len(run.dataset.train),
            batches=run.eval.precise_batches,
        )
        arguments = (params, model_state, self.data, self.seeds)
        mapped = parallel.over_seeds(
            reestimate, (True, True, False, True), run.train.seed_mode
        )
        return parallel.compile_program(mapped, arguments)(*arguments)


def compile_programs(run: Run, state: TrainState) -> Programs:
    """Puts the data on the device and compiles training and evaluation.

    Args:
      run: of `set_up`.
      state: an example of the state, such as the initial one.
    """
    step = make_train_step(
        run.model,
        run.optimizer,
        run.augment.train,
        label_smoothing=run.label_smoothing,
        auxiliary_weight=run.auxiliary_weight,
        ema_decay=run.train.ema_decay,
    )
    max_steps = dispatch_steps(run)
    chunk = make_train_chunk(
        step,
        batch_size=run.train.batch_size,
        num_train=len(run.dataset.train),
        max_steps=max_steps,
    )
    evaluate = make_evaluation(
        run.model, run.augment.preprocess, run.dataset.num_classes
    )
    data = parallel.to_device(resident_data(run.dataset))
    seeds = np.asarray(run.seeds, np.int32)
    batches = split_batches(split_sizes(run.dataset), run.eval.batch_size)
    mode = run.train.seed_mode
    train = parallel.compile_program(
        parallel.over_seeds(chunk, (True, False, True, False), mode),
        (state, data, seeds, np.int32(1)),
        donate=(0,),
    )
    evaluation = parallel.compile_program(
        parallel.over_seeds(evaluate, (True, True, False, False, False, False), mode),
        (state.params, state.model_state, data, *batches["train"]),
    )
    return Programs(run, data, seeds, batches, max_steps, train, evaluation)


def improved_weights(improved: np.ndarray, new: Any, best: Any) -> Any:
    """Takes the new weights for the seeds that improved, the best so far for others."""

    def choose(a, b):
        return jnp.where(improved.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, new, best)
