"""Spaces of features against scikit-learn and NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from cnnjax.views.likeness import alignment, cka, cka_matrix
from cnnjax.views.passes import DoesNotApply
from cnnjax.views.sanity import rank_correlations
from cnnjax.views.spaces import (
    linear_error,
    neighbours,
    pooled,
    principal_plane,
    tsne_plane,
)

STREAM = np.random.RandomState(0)
FEATURES = STREAM.standard_normal((40, 7)) * np.arange(1, 8)


def test_principal_components_are_those_of_scikit_learn():
    plane = principal_plane(FEATURES)
    peer = PCA(2, svd_solver="full").fit(FEATURES)
    points = peer.transform(FEATURES)
    signs = np.sign((points * plane.points).sum(axis=0))
    np.testing.assert_allclose(plane.points * signs, points, atol=1e-10)
    np.testing.assert_allclose(plane.explained, peer.explained_variance_ratio_)


def test_one_feature_has_a_plane_as_well():
    plane = principal_plane(FEATURES[:, :1])
    assert plane.points.shape == (40, 2)
    assert np.isfinite(plane.points).all()


def test_neighbours_are_those_of_scikit_learn():
    found, cosines = neighbours(FEATURES, [3, 17], 5)
    peer = NearestNeighbors(n_neighbors=6, metric="cosine").fit(FEATURES)
    distances, numbers = peer.kneighbors(FEATURES[[3, 17]])
    np.testing.assert_array_equal(found, numbers[:, 1:])
    np.testing.assert_allclose(cosines, 1 - distances[:, 1:])


def hsic_by_hand(first, second):
    """Equation 3 of Kornblith et al. 2019, with the centring matrix written out."""
    n = len(first)
    centre = np.eye(n) - np.ones((n, n)) / n
    kernel, other = first @ first.T, second @ second.T
    return np.trace(kernel @ centre @ other @ centre) / (n - 1) ** 2


def test_cka_by_hand():
    other = np.tanh(FEATURES @ STREAM.standard_normal((7, 5)))
    sizes = [hsic_by_hand(each, each) for each in (FEATURES, other)]
    expected = hsic_by_hand(FEATURES, other) / np.sqrt(np.prod(sizes))
    assert cka(FEATURES, other) == pytest.approx(expected)
    assert 0.05 < cka(FEATURES, other) < 0.95


def test_cka_in_float32_is_that_of_numpy():
    other = np.tanh(FEATURES @ STREAM.standard_normal((7, 5)))
    pair = (jnp.asarray(each, jnp.float32) for each in (FEATURES, other))
    expected = cka(FEATURES, other)
    assert float(alignment(*pair)) == pytest.approx(expected, rel=1e-5)


def test_cka_sees_neither_rotations_nor_factors_nor_shapes():
    rotation = np.linalg.qr(STREAM.standard_normal((7, 7)))[0]
    assert cka(FEATURES, 3 * FEATURES @ rotation + 1) == pytest.approx(1)
    maps = STREAM.standard_normal((40, 3, 2, 5))
    both = cka_matrix([FEATURES, maps], [maps.reshape(40, -1), np.ones((40, 2))])
    assert both[1, 0] == pytest.approx(1)
    assert np.isnan(both[:, 1]).all()


def test_pooled_regions():
    maps = np.arange(2 * 4 * 6 * 3, dtype=float).reshape(2, 4, 6, 3)
    found = pooled(maps).reshape(2, 2, 2, 3)
    np.testing.assert_allclose(found[1, 0, 1], maps[1, :2, 3:].mean(axis=(0, 1)))
    np.testing.assert_array_equal(pooled(maps[:, :1, :1])[:, :3], maps[:, 0, 0])
    np.testing.assert_array_equal(pooled(FEATURES), FEATURES)


def test_a_linear_classifier_of_what_is_separable_and_of_noise():
    labels = STREAM.randint(0, 2, 200)
    noise = STREAM.standard_normal((200, 3))
    apart = np.concatenate([noise, 10 * labels[:, None]], axis=1)
    assert linear_error(apart, labels) == 0
    assert 30 < linear_error(noise, labels) < 70
    with pytest.raises(DoesNotApply, match="two classes"):
        linear_error(noise, np.zeros(200, int))


def test_tsne_keeps_clusters_apart_and_repeats():
    clusters = np.repeat(np.eye(3), 8, axis=0) * 30
    features = clusters + STREAM.standard_normal((24, 3))
    plane, again = tsne_plane(features).points, tsne_plane(features).points
    np.testing.assert_array_equal(plane, again)
    near, _ = neighbours(plane - plane.mean(axis=0), range(24), 1)
    assert (near[:, 0] // 8 == np.arange(24) // 8).mean() > 0.9


def test_rank_correlation_of_maps():
    map_ = STREAM.standard_normal((3, 6, 6, 2))
    map_[2] = 0
    other = np.sqrt(np.abs(map_).sum(-1))  # the same ranks
    other[1] = -np.exp(-np.abs(map_[1]).sum(-1))  # of its size: the reverse
    found = rank_correlations(map_, other)
    np.testing.assert_allclose(found, [1, -1, np.nan])
