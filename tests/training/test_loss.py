"""Cross entropy and label smoothing against torch, and with mixed targets."""

import jax
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.training.loss import cross_entropy, make_loss, smooth

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


def test_settings_have_ranges():
    make_loss(0.0, 0.0)
    with pytest.raises(UserError, match=r"loss.label_smoothing is 1.0"):
        make_loss(1.0, 0.3)
    with pytest.raises(UserError, match=r"loss.auxiliary_weight is -0.1"):
        make_loss(0.1, -0.1)
