"""Small nets with drawn weights, and images to look at them with."""

import functools

import jax
import numpy as np

from cnnjax.layers.norm import Norm
from cnnjax.models.registry import create_model
from cnnjax.net.forward import forward_eval
from cnnjax.net.initialize import abstract_variables, draw_variables
from cnnjax.probes.probe import Subject
from cnnjax.training.loss import CROSS_ENTROPY

IMAGE_SHAPE = (8, 8, 3)
NUM_CLASSES = 5


def preprocess(images):
    """Stored images to about [-2, 2]."""
    return images.astype(np.float32) / 64 - 2


def make_net(name="resnet20_cifar", norm="batch", **arguments):
    """A net, its params and its model state, with weights and statistics that differ.

    Fresh norms have scale 1, bias 0 and variance 1: mistakes would not show.
    """
    model = create_model(
        name, norm=Norm(norm), num_classes=NUM_CLASSES, act=None, **arguments
    )
    variables = draw_variables(abstract_variables(model, IMAGE_SHAPE), (0,))
    rng = np.random.default_rng(0)

    def moved(path, leaf):
        if path[-1].key == "kernel":
            return leaf[0]
        noise = 0.3 * np.abs(rng.normal(size=leaf.shape[1:]))
        return (leaf[0] + noise).astype(np.float32)

    variables = jax.tree_util.tree_map_with_path(moved, variables)
    return model, variables.pop("params"), variables


def make_subject(model, **changes):
    """A subject for images of `make_images`."""
    of_loss = {"label_smoothing": np.float32(0.1), "auxiliary_weight": np.float32(0)}
    return Subject(
        **{
            "model": model,
            "image_shape": IMAGE_SHAPE,
            "num_classes": NUM_CLASSES,
            "preprocess": preprocess,
            "forward": forward_eval,
            "loss": CROSS_ENTROPY,
            "hyperparameters": {"loss": of_loss},
        }
        | changes
    )


@functools.cache
def make_images(num_batches=2, batch_size=6):
    """Images uint8 [M, B, H, W, C], labels and mask [M, B]; one does not count."""
    rng = np.random.default_rng(1)
    shape = (num_batches, batch_size)
    images = rng.integers(0, 256, (*shape, *IMAGE_SHAPE), np.uint8)
    labels = rng.integers(0, NUM_CLASSES, shape).astype(np.int32)
    mask = np.ones(shape, np.float32)
    mask[-1, -1] = 0
    return images, labels, mask


def errors_of(logits, labels, mask):
    """Percent of the images that count which are wrong."""
    wrong = (np.argmax(logits, -1) != labels) * mask
    return 100 * wrong.sum() / mask.sum()
