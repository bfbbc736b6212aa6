"""Likeness of what goes into blocks and comes out, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.analysis.features import features
from cnnjax.net.parts import blocks_of
from cnnjax.probes import PROBES
from cnnjax.views.likeness import alignment
from tests.probes.cases import (
    IMAGE_SHAPE,
    make_images,
    make_net,
    make_subject,
    preprocess,
)
from tests.slow import slow


def cka(first, second):
    """Equation 3 of Kornblith et al. 2019, feature by feature (their section 3)."""
    one, other = (np.asarray(x, float).reshape(len(x), -1) for x in (first, second))
    one, other = one - one.mean(0), other - other.mean(0)
    cross = np.linalg.norm(one.T @ other) ** 2
    return cross / (np.linalg.norm(one.T @ one) * np.linalg.norm(other.T @ other))


@pytest.mark.parametrize("residual", [False, slow(True)])
def test_it_is_the_cka_of_features(residual):
    arguments = {"depth": 14, "widths": (3, 4, 5), "residual": residual}
    model, params, state = make_net(**arguments, scan_blocks=False)
    images, labels, mask = make_images(num_batches=1, batch_size=12)
    blocks = blocks_of(model, IMAGE_SHAPE)
    names = ["stage1_block1", "stage1_block2", "stage2_block1", "stage2_block2"]
    subject, probe = make_subject(model), PROBES["likeness"]

    @jax.jit
    def run(params, state, x):
        seen = probe.measure(subject)(params, state, x, labels, mask)
        given = {"params": params, **state}
        return seen, features(model, given, preprocess(x[0]), names)

    seen, maps = run(params, state, images)
    seen = jax.tree.map(np.asarray, seen)
    record = probe.report(subject, {"start": seen, "end": seen})
    said = dict(zip(blocks, seen["likeness"], strict=True))
    assert set(blocks) == {
        *("stage1_block1", "stage1_block2", "stage2_block2", "stage3_block2")
    }
    for one, other in ((names[0], names[1]), (names[2], names[3])):
        expected = cka(maps[one], maps[other])
        assert expected < 0.999
        assert said[other] == pytest.approx(expected, rel=1e-4)
    assert record["mean"] == pytest.approx(np.mean(seen["likeness"]), rel=1e-5)
    assert record["profiles"]["at the end"]["labels"] == list(blocks)


@pytest.mark.parametrize("scale", [1e-22, 1.0, 1e12, 1e30])
def test_the_scale_of_features_does_not_matter(scale):
    """Nets without norm make their signals vanish or explode."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 32, 8))
    expected = cka(one, one + other)
    got = alignment(
        jnp.asarray(scale * one, jnp.float32),
        jnp.asarray(scale * (one + other), jnp.float32),
    )
    assert got == pytest.approx(expected, rel=1e-5)


def test_maps_of_few_bits_are_compared_in_many():
    maps = jnp.asarray(np.random.default_rng(0).normal(size=(64, 256)), jnp.bfloat16)
    assert alignment(maps, maps) == pytest.approx(1.0, abs=1e-6)
    flat = jnp.ones((4, 3))
    assert np.isnan(alignment(flat, flat))
