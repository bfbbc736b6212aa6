"""What it costs to leave out one block of a trained net.

Source: Veit et al. 2016, arXiv 1605.06431, section 4.1: the residual branch of one
block is removed, its shortcut stays; of a net without shortcuts one layer is removed.

Deviations: blocks that change the shape of the map stay, because their plain twins
cannot be removed; of plain nets a whole block is removed, as many layers as of their
residual twins. Errors are those of at most 2,000 test images, evenly spread.
"""

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.net.parts import blocks_of, forward_without
from cnnjax.probes.probe import Probe, Subject, count_errors, number, profile

AXES = ("block left out (0: none)", "test error (%)")


def _measure(subject: Subject):
    blocks = blocks_of(subject.model, subject.image_shape)

    def measure(params, model_state, images, labels, mask):
        def errors_without(block):
            def forward(x):
                return forward_without(
                    subject.model,
                    params,
                    model_state,
                    x,
                    block,
                    blocks,
                    subject.forward,
                )

            return count_errors(subject, forward, labels, mask, images)

        wrong = jax.lax.map(errors_without, jnp.arange(len(blocks) + 1))
        return {"error": 100 * wrong / mask.sum()}

    return measure


def _report(subject: Subject, measured):
    *without, whole = np.asarray(measured["end"]["error"], float)
    blocks = blocks_of(subject.model, subject.image_shape)
    return {
        "error": number(whole),
        "increase": number(np.mean(without) - whole),
        "profiles": {
            "": profile(
                AXES,
                ["none", *blocks],
                np.array([whole, *without]),
                range(len(blocks) + 1),
            )
        },
    }


def _fits(model, image_shape) -> bool:
    return bool(blocks_of(model, image_shape))


LESION = Probe(
    split="test",
    most_images=2000,
    moments=("end",),
    measure=_measure,
    report=_report,
    needs="residual blocks (or plain twins) that keep the shape of the map",
    fits=_fits,
)
