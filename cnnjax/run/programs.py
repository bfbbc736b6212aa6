"""The compiled programs of a run, for all of its seeds."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from cnnjax.devices.available import is_accelerated
from cnnjax.devices.layout import HOST, SEEDS
from cnnjax.devices.seed_axis import choose_seed_mode
from cnnjax.run.delivery import Resident, Streamed, delivery_of, resident_data
from cnnjax.run.setup import Run, initial_state, split_sizes
from cnnjax.run.shared import Shared, program_key
from cnnjax.run.starting.features import (
    features,
    features_shape,
    in_evaluation,
    in_training,
)
from cnnjax.training.chunk import make_train_chunk
from cnnjax.training.evaluate import divide, make_evaluation, make_reestimation, no_sums
from cnnjax.training.multi_view import PLAIN, Views
from cnnjax.training.state import TrainState, improved_weights, weights_of
from cnnjax.training.step import make_train_step

# Multiply-adds that a device does in about two seconds of training: the longest
# dispatch, so that the display moves and Ctrl-C is heard. Rough on purpose.
DISPATCH_WORK = {"cpu": 1e11, "accelerator": 2e13}


def dispatch_steps(run: Run) -> int:
    """Largest number of steps of one dispatch."""
    longest = min(
        run.interval(run.log.every_epochs),
        run.total_steps,
        delivery_of(run).most_steps(run),
    )
    if run.train.steps_per_dispatch:
        return min(run.train.steps_per_dispatch, longest)
    kind = "accelerator" if is_accelerated() else "cpu"
    work = run.work() / run.parallel.layout.num_devices
    fitting = int(DISPATCH_WORK[kind] * run.total_steps / work)
    return max(1, min(longest, fitting))


def shared_keys(run: Run) -> tuple[Hashable, Hashable]:
    """Keys of the data and of the programs that runs with equal ones may share."""
    sizes = tuple(split_sizes(run.dataset).items())
    data = ("data", run.dataset.fingerprint, sizes, run.parallel, run.featured)
    compiled = program_key(run.config, run.static)
    return data, ("programs", data, dispatch_steps(run), compiled)


class Compiled(NamedTuple):
    """What XLA made of a run: nothing in it depends on traced hyperparameters.

    Data and source are those of the delivery.

    Args:
      train: (state, data, seeds, num_steps, learning_rates, hyperparameters) -> (state,
        rows).
      evaluation: (params, model_state, sums, num_batches, *source) -> sums.
      at_end: likewise, with the statistics of each batch or with several views of
        each image, or None where the last evaluation is as those before.
      reestimation: (params, model_state, moments, data, seeds, first_step, num_steps)
        -> (moments, model_state), or None where the running statistics are evaluated.
      improve: `improved_weights`, or None where no best weights are kept.
    """

    train: Callable
    evaluation: Callable
    at_end: Callable | None
    reestimation: Callable | None
    improve: Callable | None


@dataclasses.dataclass(frozen=True)
class Programs:
    """What the training loop calls.

    Args:
      run: what they were made from.
      delivery: how images reach the devices.
      seeds: int32 [S], on the devices; where features are given to the heads, these
        beside the numbers.
      no_sums: of an evaluation without a batch, on the devices.
      max_steps: largest number of steps of one dispatch.
      compiled: the programs.
      compile_seconds: what compiling cost, or waiting for another run that did it.
      memory_bytes: what training takes for one seed on a device, by XLA's account: the
        state, and the values of one step beside it, without the images; None where XLA
        gives no account.
    """

    run: Run
    delivery: Resident | Streamed
    seeds: Any
    no_sums: dict[str, Any]
    max_steps: int
    compiled: Compiled
    compile_seconds: float
    memory_bytes: int | None

    def advance(
        self, state: TrainState, first_step: int, num_steps: int, then: int = 0
    ) -> tuple[TrainState, Any]:
        """Trains; gives the rows on the host, [S, num_steps] each.

        Args:
          state: before the steps; cannot be used any more.
          first_step: number of the first step.
          num_steps: how many.
          then: how many the next call will take; its images are read meanwhile.
        """
        steps = first_step + np.arange(self.max_steps)
        learning_rates = self.run.schedule(steps).astype(np.float32)
        data = self.delivery.take(first_step, num_steps)
        state, rows = self.compiled.train(
            state,
            data,
            self.seeds,
            np.int32(num_steps),
            learning_rates,
            self.run.hyperparameters,
        )
        self.delivery.prepare(first_step + num_steps, then)
        rows = self.run.parallel.to_host(rows)
        return state, jax.tree.map(lambda row: row[:, :num_steps], rows)

    def evaluate(
        self, params: Any, model_state: Any, splits: Iterable[str], final: bool = False
    ) -> dict[str, list[dict]]:
        """Evaluates splits; for each one dict a seed.

        Args:
          params: of all seeds.
          model_state: of all seeds.
          splits: names.
          final: as at the end of training, where `config.eval.statistics` counts;
            'precise' ones are those of `final_statistics`.
        """
        evaluation = self.compiled.evaluation
        if final and self.compiled.at_end is not None:
            evaluation = self.compiled.at_end
        # The device has all of them to do before the first is waited for.
        sent = {
            split: self._add_up(evaluation, params, model_state, split, final)
            for split in splits
        }
        sums = self.run.parallel.to_host(sent)
        return {
            split: [
                divide({name: value[i] for name, value in sums[split].items()})
                for i in range(len(self.run.seeds))
            ]
            for split in splits
        }

    def _add_up(self, evaluation, params, model_state, split, final) -> dict[str, Any]:
        sums, held = self.no_sums, model_state
        if self.run.featured:
            held = model_state, self.seeds["features"]
        with contextlib.closing(self.delivery.evaluation(split, final)) as calls:
            for num_batches, *source in calls:
                # Until the call before is done: images must not pile up on the device.
                jax.block_until_ready(sums)
                sums = evaluation(params, held, sums, num_batches, *source)
        return sums

    def weights(self, state: TrainState) -> tuple[Any, Any]:
        """(params, model_state) that the evaluation settings ask for."""
        return weights_of(state, self.run.eval.weights)

    def judged(self, state: TrainState) -> tuple[Any, Any]:
        """`weights` with the statistics by which they are judged while training."""
        params, model_state = self.weights(state)
        if self.run.evaluated(final=False)["statistics"] == "precise":
            model_state = self.final_statistics(params, model_state)
        return params, model_state

    def improve(self, improved: np.ndarray, new: Any, best: Any) -> Any:
        """The new weights for the seeds that improved, the best so far for others."""
        improve: Any = self.compiled.improve  # there are best weights, so not None
        return improve(self.run.parallel.put(improved), new, best)

    def final_statistics(self, params: Any, model_state: Any) -> Any:
        """Model state for the last evaluation: running, or estimated precisely."""
        if self.compiled.reestimation is None:
            return model_state
        moments, estimated = model_state.get("batch_stats", {}), model_state
        num_batches = self.run.eval.precise_batches
        with contextlib.closing(self.delivery.first_steps(num_batches)) as calls:
            for first_step, num_steps, data in calls:
                jax.block_until_ready(moments)
                moments, estimated = self.compiled.reestimation(
                    params,
                    model_state,
                    moments,
                    data,
                    self.seeds,
                    first_step,
                    num_steps,
                )
        return estimated

    def close(self) -> None:
        """Ends the threads that read images, if there are any."""
        self.delivery.close()


def compile_programs(
    run: Run, state: TrainState, shared: Shared | None = None
) -> Programs:
    """Puts the data on the device and compiles training and evaluation.

    Args:
      run: of `set_up`.
      state: an example of the state, such as the initial one.
      shared: what other runs of the process have made already, by `shared_keys`.
    """
    shared = shared or Shared()
    data_key, key = shared_keys(run)
    put = run.parallel.put
    max_steps = dispatch_steps(run)
    delivery = delivery_of(run)(run, max_steps)
    delivery.load(functools.partial(shared.get, data_key))
    numbers: Any = _seeds(run)
    start = time.perf_counter()
    if run.featured:
        images = resident_data(run.dataset)["images"]
        numbers = {"number": numbers, "features": features(run, state, images)}
    compiled = shared.get(key, lambda: _compile(run, state, delivery, max_steps))
    seconds = time.perf_counter() - start
    seeds, sums = put(numbers), put(_no_sums(run))
    used = _memory_of_seed(run, state, compiled.train)
    return Programs(run, delivery, seeds, sums, max_steps, compiled, seconds, used)


def memory(run: Run) -> dict[str, dict[str, int]]:
    """Bytes that the programs of a run take on each device, by XLA's account.

    Returns:
      program -> 'arguments' (the state, and data or the images of the call), 'results'
      (of which some take the place of arguments), 'temporary', 'waiting' (images of the
      next call) and 'peak', all together.
    """
    max_steps = dispatch_steps(run)
    delivery = delivery_of(run)(run, max_steps)
    compiled = _compile(run, initial_state(run), delivery, max_steps)
    waiting = delivery.waiting_bytes()
    table = {}
    for name in ("train", "evaluation"):
        stats = getattr(compiled, name).memory_analysis()
        results = stats.output_size_in_bytes - stats.alias_size_in_bytes
        arguments, temporary = stats.argument_size_in_bytes, stats.temp_size_in_bytes
        table[name] = {
            "arguments": arguments,
            "results": results,
            "temporary": temporary,
            "waiting": waiting,
            "peak": arguments + results + temporary + waiting,
        }
    return table


def _memory_of_seed(run: Run, state: TrainState, train: Any) -> int | None:
    stats = train.memory_analysis()
    if stats is None:
        return None
    num_seeds, at_once = len(run.seeds), 1
    if choose_seed_mode(run.train.seed_mode) == "vmap":
        at_once = num_seeds // run.parallel.layout.seed
    of_state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    return of_state // num_seeds + stats.temp_size_in_bytes // at_once


def _seeds(run: Run) -> np.ndarray:
    return np.asarray(run.seeds, np.int32)


def _no_sums(run: Run) -> dict[str, np.ndarray]:
    return no_sums(len(run.seeds), run.dataset.num_classes)


def _step(run: Run) -> Callable:
    return make_train_step(
        run.model,
        run.optimizer,
        run.augment.train,
        run.train.microbatches,
        run.loss,
        run.trainable,
        run.stays,
    )


def _compile(run, state, delivery, max_steps) -> Compiled:
    compiled = functools.partial(
        run.parallel.compile,
        seed_mode=run.train.seed_mode,
        deterministic=run.train.deterministic,
        remat=run.saves_memory,
        impl=run.train.impl,
    )
    seeds: Any = _seeds(run)
    step, batches = _step(run), delivery.batches
    if run.featured:
        seeds = {"number": seeds, "features": features_shape(run, state)}
        step, batches = in_training(step, batches)
    chunk = make_train_chunk(step, batches, max_steps=max_steps)
    learning_rates = np.zeros(max_steps, np.float32)
    train = compiled(
        chunk,
        (SEEDS, delivery.train_kind, SEEDS, HOST, HOST, HOST),
        (
            state,
            delivery.train_example,
            seeds,
            np.int32(1),
            learning_rates,
            run.hyperparameters,
        ),
        donate=(0,),
        results=(0, None),
    )
    weights = (state.params, state.model_state)

    def evaluating(batch_statistics: bool, views: Views, example: tuple) -> Callable:
        def make(batch_at: Callable) -> Callable:
            return make_evaluation(
                run.model,
                run.augment.preprocess,
                run.dataset.num_classes,
                batch_at,
                batch_statistics,
                run.loss,
                views,
            )

        held, batch_at = state.model_state, delivery.evaluation_batch
        function = make(batch_at)
        if run.featured:
            held, function = (held, seeds["features"]), in_evaluation(make, batch_at)
        return compiled(
            function,
            (SEEDS, SEEDS, SEEDS, HOST, *delivery.evaluation_kinds),
            (
                state.params,
                held,
                _no_sums(run),
                np.int32(1),
                *example,
            ),
            results=2,
        )

    evaluation, views = evaluating(False, PLAIN, delivery.evaluation_example), run.views
    by_batch = run.eval.statistics == "batch"
    differs = by_batch or not views.is_plain
    last = delivery.last_example()
    at_end = evaluating(by_batch, views, last) if differs else None
    reestimation = improve = None
    if run.eval.statistics == "precise":
        reestimate = make_reestimation(
            run.model,
            run.augment.train,
            delivery.batches,
            batch_size=run.train.batch_size,
            max_steps=delivery.most_first_steps,
            stays=run.stays,
        )
        reestimation = compiled(
            reestimate,
            (SEEDS, SEEDS, SEEDS, delivery.train_kind, SEEDS, HOST, HOST),
            (
                *weights,
                state.model_state.get("batch_stats", {}),
                delivery.train_example,
                _seeds(run),
                np.int32(0),
                np.int32(1),
            ),
            results=(2, 1),
        )
    if run.keeps_best:
        # Leaf by leaf, outside of a program, the first call takes half a second.
        improve = compiled(
            improved_weights,
            (SEEDS, SEEDS, SEEDS),
            (np.zeros(len(run.seeds), bool), weights, weights),
            donate=(2,),
            results=2,
        )
    return Compiled(train, evaluation, at_end, reestimation, improve)
