"""Errors by running statistics and by those of test images, against plain forwards."""

import dataclasses

import jax
import numpy as np
import pytest

from cnnjax.net.forward import forward_eval
from cnnjax.probes import PROBES
from tests.probes.cases import (
    errors_of,
    make_images,
    make_net,
    make_subject,
    preprocess,
)


@pytest.mark.parametrize("size", [2, 4, None])
def test_errors_are_those_of_groups_by_hand(size):
    model, *weights = make_net("convnet_cifar", widths=(4,), num_convs=1)
    norm = dataclasses.replace(model.norm, examples_per_statistic=size)
    model = model.clone(norm=norm)
    images, labels, mask = make_images(num_batches=5)
    # Half of them are what the net says by running statistics.
    said = [forward_eval(model, *weights, preprocess(x)).argmax(-1) for x in images]
    labels = np.where(np.arange(labels.shape[1]) % 2, labels, said).astype(np.int32)
    whole = 4 if size == 4 else 6  # of six images four make a group
    size = size or 6

    def grouped(x):
        return x[:, :whole].reshape(-1, size, *x.shape[2:])

    def errors(images, labels, mask, by_batch):
        logits = [
            forward_eval(model, *weights, preprocess(x), by_batch) for x in images
        ]
        return errors_of(np.stack(logits), labels, mask)

    seen = jax.jit(PROBES["statistics"].measure(make_subject(model)))(
        *weights, images, labels, mask
    )
    record = PROBES["statistics"].report(make_subject(model), {"end": seen})
    of_groups = errors(*map(grouped, (images, labels, mask)), True)
    assert record == {
        "batch": pytest.approx(of_groups, rel=1e-5),
        "running": pytest.approx(errors(images, labels, mask, False), rel=1e-5),
        "profiles": {},
    }
    assert record["batch"] != record["running"]
