"""Test error of several nets together: seeds of a run, snapshots of it, or both.

The probabilities of the nets are averaged. Groups are of `config.eval.members`
consecutive seeds, so that no net is in two of them: the first seed of a group has the
number, the others have none, and seeds that fill no group are in none. A snapshot is
what the net was at the end of each of `config.eval.snapshots` equal parts of training;
`config.schedule.cycles` lets the rate fall in each of them. Errors are those of at most
2,000 test images, evenly spread.

Source: Lakshminarayanan et al. 2017, arXiv 1612.01474, section 2.4, without adversarial
training (seeds); Huang et al. 2017, arXiv 1704.00109, section 3 (snapshots).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cnnjax.probes.probe import Probe, Subject, number, profile

AXES = ("nets averaged", "test error (%)")
DIGITS = 6  # of probabilities that are kept


def _measure(subject: Subject):
    def measure(params, model_state, images, labels, mask):
        def of_batch(x):
            x = subject.preprocess(x)
            logits = subject.forward(subject.model, params, model_state, x)
            return jax.nn.softmax(logits)

        rows = jax.lax.map(of_batch, images)
        return {
            "probabilities": rows.reshape(-1, rows.shape[-1]).round(DIGITS),
            "labels": labels.reshape(-1),
            "mask": mask.reshape(-1),
        }

    return measure


def _report(
    subject: Subject,
    seeds: Sequence[Mapping[str, Mapping[str, np.ndarray]]],
    i: int,
) -> dict[str, Any]:
    group = seeds[i : i + subject.members]
    if i % subject.members or len(group) < subject.members:
        return {"profiles": {}}
    last_first = subject.moments_of(ENSEMBLE)[::-1]
    nets = [of_seed[moment] for of_seed in group for moment in last_first]
    kept = nets[0]["mask"] > 0
    labels = nets[0]["labels"][kept]
    rows = np.stack([np.asarray(seen["probabilities"])[kept] for seen in nets])
    sums = np.cumsum(rows, axis=0)
    wrong = (sums.argmax(-1) != labels) | ~np.isfinite(sums).all(-1)
    errors = 100 * wrong.mean(1)
    counts = list(range(1, len(nets) + 1))
    return {
        "error": number(errors[-1]),
        "profiles": {"": profile(AXES, counts, errors, counts)},
    }


ENSEMBLE = Probe(
    split="test",
    most_images=2000,
    moments=(),  # those of the snapshots
    measure=_measure,
    report_of_all=_report,
)
