"""How strongly each layer responds.

Source: He et al. 2015, arXiv 1512.03385, section 4.2 and figure 7: the standard
deviation of the outputs of each 3x3 layer, after batch normalization and before
anything else (nonlinearity, addition). Their nets are trained; so are these.

Deviation: layers are all convolutions with windows larger than 1x1. Where some of them
have no norm directly after (none at all, or norms before convolutions), the outputs
of the convolutions are taken for all, so that the layers of a net can be compared.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from cnnjax.net.parts import Layer, layers_of, layers_of_shape
from cnnjax.probes.probe import Probe, Subject, number, profile

AXES = ("layer", "standard deviation of its output")


def _with_window(layers: Sequence[Layer]) -> list[Layer]:
    return [layer for layer in layers if layer.window != (1, 1)]


def _measure(subject: Subject):
    seen = _with_window(layers_of_shape(subject.model, subject.image_shape))
    normed = all(layer.normed is not None for layer in seen)

    def measure(params, model_state, images, labels, mask):
        layers = layers_of(
            subject.model, params, model_state, subject.preprocess(images[0])
        )
        taken = [
            layer.normed if normed else layer.output for layer in _with_window(layers)
        ]
        return {"deviation": jnp.stack([x.astype(jnp.float32).std() for x in taken])}

    return measure


def _report(subject: Subject, measured):
    layers = _with_window(layers_of_shape(subject.model, subject.image_shape))
    deviation = np.asarray(measured["end"]["deviation"])
    labels = [layer.path for layer in layers]
    return {
        "mean": number(deviation.mean()),
        "profiles": {"": profile(AXES, labels, deviation)},
    }


def _fits(model, image_shape) -> bool:
    return bool(_with_window(layers_of_shape(model, image_shape)))


LAYER_RESPONSES = Probe(
    split="train",
    most_images=256,
    moments=("end",),
    measure=_measure,
    report=_report,
    needs="a convolution with a window larger than 1x1",
    fits=_fits,
)
