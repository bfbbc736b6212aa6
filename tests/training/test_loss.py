"""Losses against torch and by hand, and with mixed targets."""

import jax
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.training.loss import (
    CROSS_ENTROPY,
    HINGES,
    KINDS,
    Loss,
    cross_entropy,
    hinge,
    make_loss,
    smooth,
)

STREAM = np.random.RandomState(0)
LOGITS = 3 * STREAM.standard_normal((8, 5))
LABELS = STREAM.randint(0, 5, 8)
ONE_HOT = np.eye(5)[LABELS]


def test_targets_keep_their_mass():
    smoothed = np.asarray(smooth(ONE_HOT, 0.1))
    np.testing.assert_allclose(smoothed.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(smoothed.max(-1), 0.9 + 0.1 / 5, rtol=1e-6)
    np.testing.assert_allclose(smoothed.min(-1), 0.1 / 5, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_loss_and_gradient_as_torch(smoothing):
    torch = pytest.importorskip("torch")
    logits = torch.tensor(LOGITS, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(
        logits, torch.tensor(LABELS), label_smoothing=smoothing
    )
    theirs.backward()

    def loss(logits):
        return cross_entropy(logits, smooth(ONE_HOT, smoothing)).mean()

    with jax.enable_x64(True):
        ours, grad = jax.value_and_grad(loss)(LOGITS)
    np.testing.assert_allclose(ours, theirs.item(), rtol=1e-12)
    np.testing.assert_allclose(grad, logits.grad, rtol=1e-9, atol=1e-15)


def test_a_mixed_target_is_a_mixture_of_losses():
    other = np.eye(5)[np.roll(LABELS, 1)]
    with jax.enable_x64(True):
        mixed = cross_entropy(LOGITS, 0.3 * ONE_HOT + 0.7 * other)
        apart = 0.3 * cross_entropy(LOGITS, ONE_HOT)
        apart += 0.7 * cross_entropy(LOGITS, other)
    np.testing.assert_allclose(mixed, apart, rtol=1e-12)


def test_large_logits_do_not_overflow():
    logits = np.array([[1e4, -1e4], [-1e30, 1e30]], np.float32)
    losses = cross_entropy(logits, np.eye(2, dtype=np.float32))
    np.testing.assert_array_equal(losses, [0, 0])


def of_torch(torch, kind, logits):
    """The same loss there, summed over images."""
    labels, functional = torch.tensor(LABELS), torch.nn.functional
    classes, one_hot = logits.shape[1], torch.tensor(ONE_HOT)
    margin = functional.multi_margin_loss
    return {
        "cross_entropy": lambda: functional.cross_entropy(
            logits, labels, reduction="sum"
        ),
        "sigmoid": lambda: functional.binary_cross_entropy_with_logits(
            logits, one_hot, reduction="sum"
        ),
        "hinge": lambda: classes * margin(logits, labels, reduction="sum"),
        "mean_hinge": lambda: margin(logits, labels, reduction="sum"),
        "squared_hinge": lambda: classes * margin(logits, labels, p=2, reduction="sum"),
    }[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_and_its_gradient_as_torch(kind):
    torch = pytest.importorskip("torch")
    logits = torch.tensor(LOGITS, requires_grad=True)
    theirs = of_torch(torch, kind, logits)
    theirs.backward()
    with jax.enable_x64(True):
        ours, grad = jax.value_and_grad(lambda s: Loss(kind)(s, ONE_HOT).sum())(LOGITS)
    np.testing.assert_allclose(ours, theirs.item(), rtol=1e-12)
    np.testing.assert_allclose(grad, logits.grad, rtol=1e-9, atol=1e-15)


def test_the_hinge_of_the_lecture():
    """CS231n, lecture 3: a cat, a car and a frog, with losses 2.9, 0 and 12.9."""
    scores = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    losses = hinge(scores, np.eye(3))
    np.testing.assert_allclose(losses, [2.9, 0, 12.9], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        ("cross_entropy", np.log(10)),
        ("sigmoid", 10 * np.log(2)),
        ("hinge", 9),
        ("mean_hinge", 0.9),
        ("squared_hinge", 9),
    ],
)
def test_the_loss_of_chance(kind, loss):
    assert Loss(kind).of_chance(10) == pytest.approx(loss, rel=1e-6)


def test_the_l2_term_knows_which_parameters_count():
    params = {"kernel": np.array([3.0, 4.0]), "bias": np.array([7.0])}
    decayed = {"kernel": True, "bias": False}
    assert float(CROSS_ENTROPY.of_parameters(params, decayed, 0.1)) == pytest.approx(
        0.5 * 0.1 * 25
    )


@pytest.mark.parametrize("kind", HINGES)
def test_hinges_know_no_mixtures(kind):
    make_loss(kind, 0.0, 0.3, 0.0)
    words = f"config.loss.kind is '{kind}', which needs one class for each image, and"
    with pytest.raises(UserError, match=words + r" config.loss.label_smoothing is 0.1"):
        make_loss(kind, 0.1, 0.3, 0.0)


def test_settings_have_ranges():
    make_loss("cross_entropy", 0.0, 0.0, 0.0)
    with pytest.raises(UserError, match=r"unknown loss 'hing'.*squared_hinge"):
        make_loss("hing", 0.0, 0.3, 0.0)
    with pytest.raises(UserError, match=r"loss.label_smoothing is 1.0"):
        make_loss("sigmoid", 1.0, 0.3, 0.0)
    with pytest.raises(UserError, match=r"loss.auxiliary_weight is -0.1"):
        make_loss("sigmoid", 0.1, -0.1, 0.0)
    with pytest.raises(UserError, match=r"loss.l2 is -1"):
        make_loss("sigmoid", 0.1, 0.1, -1.0)
