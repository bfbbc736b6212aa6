"""A linear probe sees each image once: what its head is given is computed beforehand.

That is exact where nothing before the head changes from step to step, and no image
does: then the features of an image are the same at every step.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from cnnjax.data.augment import OPERATIONS
from cnnjax.data.dataset import Dataset
from cnnjax.devices.layout import DATA, SEEDS
from cnnjax.devices.parallel import Parallel
from cnnjax.layers.dropout import Dropout, StochasticDepth
from cnnjax.net.execution import unscanned
from cnnjax.net.forward import features_of
from cnnjax.net.held import statistics_paths
from cnnjax.net.initialize import abstract_variables
from cnnjax.net.observe import Call, observe
from cnnjax.net.stages import HEAD
from cnnjax.training.trainable import Trainable

# Place of an image in the resident data, by which its features are found.
PLACE = "place"


def can_be_given(
    model: nn.Module,
    declared: Any,
    trainable: Trainable | None,
    stays: tuple[str, ...],
    config: ConfigDict,
    dataset: Dataset,
) -> bool:
    """Whether the head can be trained on features that are computed once."""
    if trainable is None or dataset.streamed:
        return False
    only_head = all(path.split("/")[0] == HEAD for path in trainable.paths)
    others = set(declared) - {"params", "batch_stats"}
    same = set(stays) == set(statistics_paths(declared)) and not others
    augmented = any(config.augment.get(name) for name in OPERATIONS)
    evaluation = config.eval
    by_running = evaluation.statistics == "running"
    viewed = evaluation.flip or evaluation.crops != "whole" or evaluation.scales
    fixed = only_head and same and by_running and not (augmented or viewed)
    return fixed and not _draws(model, dataset.image_shape)


def _draws(model: nn.Module, image_shape: tuple[int, ...]) -> bool:
    """Whether a layer is random in training."""
    found = []

    def note(call: Call):
        if isinstance(call.module, Dropout | StochasticDepth | nn.Dropout):
            found.append(call.module.rate)
        return call.run()

    with observe(note):
        abstract_variables(unscanned(model), image_shape)
    return any(found)


def features_shape(run: Any, state: Any) -> jax.ShapeDtypeStruct:
    """Of all seeds and images: [S, N, ...]."""
    image = jax.ShapeDtypeStruct((1, *run.dataset.image_shape), jnp.uint8)
    weights = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype),
        (state.params, state.model_state),
    )
    one = jax.eval_shape(_features(run), *weights, image)
    total = sum(len(getattr(run.dataset, split)) for split in _SPLITS)
    return jax.ShapeDtypeStruct((len(run.seeds), total, *one.shape[1:]), one.dtype)


def features(run: Any, state: Any, images: np.ndarray) -> np.ndarray:
    """What the heads of all seeds are given: [S, N, ...], on the host.

    Seeds take turns on one device, so that the layout makes no difference.

    Args:
      run: of `set_up`.
      state: of its seeds, on the host.
      images: uint8 [N, H, W, C].
    """
    size = min(run.eval.batch_size, len(images))
    padded = np.concatenate([images, images[: -len(images) % size]])
    batches = padded.reshape(-1, size, *images.shape[1:])
    program = Parallel().compile(
        _features(run),
        (SEEDS, SEEDS, DATA),
        (state.params, state.model_state, batches[0]),
        seed_mode="loop",
        deterministic=run.train.deterministic,
        impl=run.train.impl,
    )
    weights = Parallel().put((state.params, state.model_state))
    found = [np.asarray(program(*weights, batch)) for batch in batches]
    return np.concatenate(found, axis=1)[:, : len(images)]


_SPLITS = ("train", "validation", "test")


def _features(run: Any) -> Callable:
    def of_images(params, model_state, images):
        return features_of(
            run.model, params, model_state, run.augment.preprocess(images)
        )

    return of_images


def in_training(step: Callable, batches: Callable) -> tuple[Callable, Callable]:
    """Step and batches whose 'seed' has its features beside its number."""

    def batches_of(data, seed, first_step, num_steps):
        return batches(data, seed["number"], first_step, num_steps)

    def step_of(state, batch, *others):
        seed = batch["seed"]
        given = seed["features"][batch[PLACE]]
        batch = batch | {"seed": seed["number"], "features": given}
        return step(state, batch, *others)

    return step_of, batches_of


def in_evaluation(make: Callable[[Callable], Callable], batch_at: Callable) -> Callable:
    """An evaluation whose model state has the features beside it.

    Args:
      make: batch_at -> evaluation, as `make_evaluation`.
      batch_at: batch i of a split.
    """

    def evaluate(params, held, *others):
        model_state, given = held

        def featured(i, *source):
            batch = batch_at(i, *source)
            return batch | {"features": given[batch[PLACE]]}

        return make(featured)(params, model_state, *others)

    return evaluate
