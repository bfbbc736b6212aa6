"""Writes the files of an ablation with made-up numbers, for tests only."""

import json
from pathlib import Path

import numpy as np

from cnnjax.ablation.define.spec import Ablation
from cnnjax.ablation.define.stored import spec_to_dict, to_plain
from tests.ablation.small_degradation import get_ablation

TRAIN_COUNT, TEST_COUNT = 1437, 360
EPOCHS = 20
# Made-up mean training error by arm: shaped like the paper's claim.
TRAIN_ERROR = {
    ("plain", "8"): 0.2,
    ("plain", "20"): 2.5,
    ("plain", "32"): 14.0,
    ("plain", "56"): 71.0,
    ("residual", "8"): 0.1,
    ("residual", "20"): 0.0,
    ("residual", "32"): 0.0,
    ("residual", "56"): 0.0,
}


def write_sweep(
    workdir: Path,
    scale: str = "laptop",
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    ablation: Ablation | None = None,
) -> Path:
    """Writes plan.json and every cell, all done; returns the folder."""
    ablation = ablation or get_ablation()
    arms = [_arm(arm, seeds) for arm in ablation.arms(scale)]
    _write(
        workdir / "plan.json",
        {
            "ablation": ablation.name,
            "scale": scale,
            "spec": spec_to_dict(ablation, scale),
            "arms": arms,
            "seeds": list(seeds),
            "recipe": ablation.scale(scale).recipe,
            "created": "2025-01-01T00:00:00+00:00",
        },
    )
    for index, arm in enumerate(arms):
        _write(workdir / arm["name"] / "provenance.json", _provenance(arm))
        for seed in seeds:
            _write_cell(workdir / arm["name"] / f"seed-{seed}", arm, index, seed)
    return workdir


def write_cells(workdir: Path) -> None:
    """Writes the missing cells of a plan, all done."""
    plan = json.loads((workdir / "plan.json").read_text())
    for index, arm in enumerate(plan["arms"]):
        for cell in arm["cells"]:
            _write(workdir / cell["name"] / "provenance.json", _provenance(arm))
            for seed in cell["seeds"]:
                folder = workdir / cell["name"] / f"seed-{seed}"
                if not folder.exists():
                    _write_cell(folder, arm, index, seed)


def edit_result(folder: Path, **changes) -> None:
    """Replaces top-level keys of a result.json."""
    path = folder / "result.json"
    _write(path, json.loads(path.read_text()) | changes)


def _arm(arm, seeds: tuple[int, ...]) -> dict:
    depth = int(arm.axes.get("depth", 8))
    return {
        "name": arm.name,
        "axes": dict(arm.axes),
        "overrides": to_plain(arm.overrides),
        "cells": [
            {
                "name": arm.name,
                "seeds": list(seeds),
                "fold": None,
                "config_hash": f"hash-{arm.name}",
                "data_hash": "data",
            }
        ],
        "num_params": 850 * depth,
        "multiply_adds": 61_000 * depth,
        "epochs": EPOCHS,
        "steps": EPOCHS * 22,
    }


def _provenance(arm: dict) -> dict:
    return {
        "command": "./launch.sh ablate --ablation=synthetic (made-up numbers)",
        "config_hash": arm["cells"][0]["config_hash"],
        "git_commit": "0" * 40,
        "git_dirty": False,
        "versions": {"python": "3.11.0", "jax": "0.0.0", "flax": "0.0.0"},
        "devices": ["cpu:0"],
        "data": {"name": "made-up", "fingerprint": "abc", "note": "not real images"},
    }


def _write_cell(folder: Path, arm: dict, index: int, seed: int) -> None:
    rng = np.random.default_rng([index, seed])
    key = (arm["axes"].get("net", "plain"), arm["axes"].get("depth", "8"))
    mean = TRAIN_ERROR.get(key, 5.0)
    noisy = mean * float(np.exp(0.15 * rng.normal()))
    final = _step_to(min(noisy, 90.0), TRAIN_COUNT)
    test = _step_to(min(final + 2.5 + abs(rng.normal()), 90.0), TEST_COUNT)
    folder.mkdir(parents=True, exist_ok=True)
    _write_rows(folder / "metrics.jsonl", final, test, rng)
    evaluated = {
        split: {"loss": error / 30, "error": error, "top5_error": 0.0, "count": count}
        for split, error, count in (
            ("train", final, TRAIN_COUNT),
            ("validation", test, TEST_COUNT),
            ("test", test, TEST_COUNT),
        )
    }
    result = {
        "arm": arm["name"],
        "seed": seed,
        "status": "done",
        "reason": None,
        "step": arm["steps"],
        "epochs": float(arm["epochs"]),
        "final": evaluated,
        "best": {"step": 400, "validation_error": test, "test": evaluated["test"]},
        "cost": {
            "compile_seconds": 1.0 + 0.01 * arm["num_params"] / 850,
            "run_seconds": 2e-4 * arm["num_params"],
            "images_per_second": 3e8 / arm["num_params"],
        },
        "num_params": arm["num_params"],
        "multiply_adds": arm["multiply_adds"],
        "config_hash": arm["cells"][0]["config_hash"],
        "data_fingerprint": "abc",
    }
    _write(folder / "result.json", result)


def _write_rows(path: Path, train: float, test: float, rng) -> None:
    rows = []
    for epoch in range(1, EPOCHS + 1):
        fade = np.exp(-epoch / 4) * (1 + 0.1 * rng.normal())
        step = epoch * 22
        common = {"step": step, "epoch": float(epoch), "loss": 1.0}
        for split, final in (("train", train), ("validation", test)):
            error = float(np.clip(final + (90 - final) * fade, 0, 90))
            error = final if epoch == EPOCHS else error
            rows.append({"kind": "eval", "split": split, "error": error} | common)
        running = min(train + 85 * float(fade), 100.0)
        rows.append({"kind": "train", "error": running} | common)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _step_to(error: float, count: int) -> float:
    return round(error * count / 100) * 100 / count


def _write(path: Path, data: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1))
