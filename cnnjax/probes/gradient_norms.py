"""The gradient of each convolution: at initialisation, half way, at the end.

The L2 norm of the gradient of the training loss (with label smoothing and auxiliary
heads, without weight decay or L2 term) with respect to the kernel, in training mode, on
a fixed batch of training images without augmentation. Convolutions beside the main path
(projections, gates, squeeze and excitation) are left out.

Source: Glorot and Bengio 2010, AISTATS, section 4.2.2, look at gradients by layer.
"""

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.net.forward import forward_train
from cnnjax.net.parts import layers_of_shape
from cnnjax.net.stacked import stacks_of_net, unstack
from cnnjax.probes.probe import Probe, Subject, number, profile

AXES = ("convolution", "L2 norm of the gradient of its kernel")
TITLES = {"start": "at initialisation", "middle": "half way", "end": "at the end"}


def _measure(subject: Subject):
    paths = [
        layer.path for layer in layers_of_shape(subject.model, subject.image_shape)
    ]
    stacks = stacks_of_net(subject.model, subject.image_shape)
    of_loss = subject.hyperparameters["loss"]

    def measure(params, model_state, images, labels, mask):
        targets = jax.nn.one_hot(labels[0], subject.num_classes, dtype=jnp.float32)

        def loss(params):
            # The same units are dropped every time.
            logits, auxiliary, _ = forward_train(
                subject.model,
                params,
                model_state,
                subject.preprocess(images[0]),
                jax.random.key(0),
            )
            _, total = subject.loss.of_batch(
                logits, auxiliary, targets, of_loss, len(targets)
            )
            return total

        gradient = unstack(jax.grad(loss)(params), stacks)
        return {"norm": jnp.stack([_norm(_kernel(gradient, path)) for path in paths])}

    return measure


def _kernel(tree, path: str):
    for name in path.split("/"):
        tree = tree[name]
    return tree["kernel"]


def _norm(x):
    return jnp.sqrt(jnp.sum(x.astype(jnp.float32) ** 2))


def _report(subject: Subject, measured):
    layers = layers_of_shape(subject.model, subject.image_shape)
    labels = [layer.path for layer in layers]
    norms = {moment: np.asarray(of["norm"], float) for moment, of in measured.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log10(norms["start"][0] / norms["start"][-1])
    return {
        "ratio": number(ratio),
        "profiles": {
            title: profile(AXES, labels, norms[moment])
            for moment, title in TITLES.items()
        },
    }


def _fits(model, image_shape) -> bool:
    return bool(layers_of_shape(model, image_shape))


GRADIENT_NORMS = Probe(
    split="train",
    most_images=256,
    moments=tuple(TITLES),
    measure=_measure,
    report=_report,
    needs="a convolution",
    fits=_fits,
)
