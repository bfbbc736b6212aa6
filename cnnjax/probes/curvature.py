"""How sharp the loss is where training ended: the largest eigenvalue of its Hessian.

Cross entropy of at most 128 training images without augmentation, in an evaluation with
the running statistics of batch norm; no weight decay, no label smoothing. `sharpness`
measures directions in lengths of filters, so that it does not see their scale;
`curvature` is of the weights as they are. Both are decadic logarithms.

Source: Li et al. 2017, arXiv 1712.09913, sections 4 to 6.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.net.stacked import unscan
from cnnjax.probes.probe import Probe, Subject, number
from cnnjax.views.curvature import filter_lengths, first_vector, largest_eigenvalue
from cnnjax.views.landscape import loss_and_errors

NAMES = ("curvature", "sharpness")  # in the order of the units
MOST, TOLERANCE = 60, 0.02


def _measure(subject: Subject):
    def measure(params, model_state, images, labels, mask):
        weights = {"params": params, **model_state}
        network, weights = unscan(subject.model, weights, subject.image_shape)
        params = weights.pop("params")
        x = subject.preprocess(images[0])

        def loss(params):
            return loss_and_errors(network, params, weights, x, labels[0])[0]

        start = first_vector(params, 0)
        options: dict[str, Any] = {"most": MOST, "tolerance": TOLERANCE}
        ones = jax.tree.map(jnp.ones_like, params)
        # One after the other, by one program: it takes long to compile.
        units = jax.tree.map(lambda *u: jnp.stack(u), ones, filter_lengths(params))
        values, residuals, _ = jax.lax.map(
            lambda of: largest_eigenvalue(loss, params, start, units=of, **options),
            units,
        )
        return {"values": values, "residuals": residuals}

    return measure


def _report(subject: Subject, measured):
    values, residuals = (measured["end"][name] for name in ("values", "residuals"))
    record: dict[str, Any] = {"profiles": {}}
    with np.errstate(divide="ignore", invalid="ignore"):
        for i, name in enumerate(NAMES):
            record[name] = number(np.log10(values[i]))
            # How far the iteration was from an eigenvector, as a share of the value.
            record[f"{name}_within"] = number(residuals[i] / values[i])
    return record


CURVATURE = Probe(
    split="train",
    most_images=128,
    moments=("end",),
    measure=_measure,
    report=_report,
    as_trained=True,
)
