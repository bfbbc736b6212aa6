"""The largest eigenvalues of a Hessian, against one written out."""

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from cnnjax.net.forward import forward_eval
from cnnjax.probes import PROBES
from tests.probes.cases import make_images, make_net, make_subject, preprocess
from tests.slow import slow_but

NETS = {
    "convnet_cifar": {"widths": (3,), "num_convs": 1},
    "resnet20_cifar": {"depth": 8, "widths": (2, 2, 2), "scan_blocks": False},
}


@pytest.mark.parametrize("name", slow_but(("convnet_cifar",), NETS))
def test_eigenvalues_are_those_of_the_dense_hessian(name):
    model, params, state = make_net(name, **NETS[name])
    images, labels, mask = make_images(num_batches=1)
    flat, back = ravel_pytree(params)

    def loss(flat):
        logits = forward_eval(model, back(flat), state, preprocess(images[0]))
        chosen = jax.nn.log_softmax(logits)[np.arange(labels.shape[1]), labels[0]]
        return -chosen.mean()

    def norms(leaf):
        size = np.sqrt((leaf**2).sum(axis=tuple(range(leaf.ndim - 1))))
        return np.broadcast_to(size if leaf.ndim > 1 else 0.0, leaf.shape)

    lengths = ravel_pytree(jax.tree.map(lambda x: norms(np.asarray(x)), params))[0]
    dense = np.asarray(jax.jit(jax.hessian(loss))(flat), float)
    lengths = np.asarray(lengths, float)
    subject = make_subject(model)
    probe = PROBES["curvature"]
    seen = jax.jit(probe.measure(subject))(params, state, images, labels, mask)
    record = probe.report(subject, {"end": jax.tree.map(np.asarray, seen)})
    for metric, hessian in (
        ("curvature", dense),
        ("sharpness", lengths * dense * lengths[:, None]),
    ):
        value = np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1]
        # A residual of 2% leaves an error of its square over the gap.
        assert record[metric] == pytest.approx(np.log10(value), abs=0.002)
        assert record[f"{metric}_within"] <= 0.02
