"""How alike neighbours are: what goes into each block, and what comes out.

Linear CKA, over at most 256 training images without augmentation, of the input and the
output of each residual block, or of its plain twin, that keeps the shape of the map; in
an evaluation, at initialisation and at the end. 1: a block changes nothing but by a
rotation and a factor.

Source: Kornblith et al. 2019, arXiv 1905.00414, section 3.
"""

import jax.numpy as jnp
import numpy as np

from cnnjax.net.parts import blocks_of
from cnnjax.probes.probe import Probe, Subject, number, profile
from cnnjax.views.likeness import alignment
from cnnjax.views.passes import logits_of

AXES = ("block", "CKA of its input and its output")
TITLES = {"start": "at initialisation", "end": "at the end"}


def _measure(subject: Subject):
    blocks = blocks_of(subject.model, subject.image_shape)

    def measure(params, model_state, images, labels, mask):
        alike = {}

        def compare(call):
            output = call.run()
            if call.path in blocks:
                alike[call.path] = alignment(call.args[0], output)
            return output

        weights = {"params": params, **model_state}
        logits_of(subject.model, weights, subject.preprocess(images[0]), compare)
        return {"likeness": jnp.stack([alike[block] for block in blocks])}

    return measure


def _report(subject: Subject, measured):
    blocks = blocks_of(subject.model, subject.image_shape)
    alike = {moment: np.asarray(of["likeness"]) for moment, of in measured.items()}
    return {
        "mean": number(np.mean(alike["end"])),
        "profiles": {
            title: profile(AXES, blocks, alike[moment])
            for moment, title in TITLES.items()
        },
    }


def _fits(model, image_shape) -> bool:
    return bool(blocks_of(model, image_shape))


LIKENESS = Probe(
    split="train",
    most_images=256,
    moments=tuple(TITLES),
    measure=_measure,
    report=_report,
    needs="residual blocks (or plain twins) that keep the shape of the map",
    fits=_fits,
    as_trained=True,
)
