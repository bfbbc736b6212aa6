"""A run resumes with the same curve on any number of devices, in any mode."""

import numpy as np
import pytest

from cnnjax.interrupt import Stopped
from tests.run.tiny import RESNET, fit, rows_of, tiny_run

# Where each stretch of one run is trained; every mode and number of devices writes a
# checkpoint that another one reads.
STRETCHES = (
    ("jit", "data=8"),
    ("jit", "seed=1"),
    ("shard_map", "data=2"),
    ("pmap", "seed=2,data=2"),
    ("shard_map", "seed=2"),
)
STEPS_EACH = 2


def run_on(mode="jit", layout="seed=1", **changes):
    return tiny_run(
        "resnet20_cifar",
        RESNET,
        seeds__count=2,
        train__steps=STEPS_EACH * len(STRETCHES),
        train__ema_decay=0.7,
        eval__weights="ema",  # with the averaged statistics of the norms
        data__image_size=6,
        augment__flip=True,
        schedule__learning_rate=0.01,
        log__every_epochs=1 / 3,  # every step
        eval__keep_best=True,
        parallel__mode=mode,
        parallel__layout=layout,
        **changes,
    )


def curves(path):
    rows = [rows_of(path, seed) for seed in (0, 1)]
    return [[(r["step"], r["kind"]) for r in own] for own in rows], [
        [r["loss"] for r in own] for own in rows
    ]


@pytest.mark.slow
def test_one_run_on_ever_other_devices(tmp_path):
    alone = fit(run_on(), tmp_path / "alone")
    for i, (mode, layout) in enumerate(STRETCHES[:-1], 1):
        stop_at = i * STEPS_EACH
        sharded = mode == "jit"
        stretch = run_on(mode, layout, parallel__shard_state=sharded)
        with pytest.raises(Stopped, match=f"step {stop_at}$"):
            fit(stretch, tmp_path / "moved", stop_at=stop_at)
    moved = fit(run_on(*STRETCHES[-1]), tmp_path / "moved")
    assert moved.shown.first_step == STEPS_EACH * (len(STRETCHES) - 1)
    assert not moved.warnings
    places, losses = curves(tmp_path / "moved")
    expected_places, expected = curves(tmp_path / "alone")
    assert places == expected_places
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)
    for one, other in zip(moved.results, alone.results, strict=True):
        assert one["config_hash"] == other["config_hash"]
        assert one["best"]["step"] == other["best"]["step"]
        np.testing.assert_allclose(
            one["final"]["test"]["loss"], other["final"]["test"]["loss"], rtol=1e-4
        )
