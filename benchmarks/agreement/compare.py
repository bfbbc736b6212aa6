"""Trains one recipe here and in torch over some seeds, and says how far they differ."""

import dataclasses
import datetime
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from benchmarks.agreement import ours
from benchmarks.agreement.choices import Choices, record
from benchmarks.machine import describe
from benchmarks.rows import measured
from cnnjax.ablation.report.replacing import alone, replace_block
from cnnjax.config import load_recipe, override
from cnnjax.errors import UserError
from cnnjax.records import write_json, write_text
from cnnjax.run.provenance import git_commit
from cnnjax.run.setup import Run, set_up

FLOAT64_STEPS = 10


@dataclasses.dataclass(frozen=True)
class Task:
    """What is trained, with what torch has to know of it.

    Args:
      data: overrides of section `data`.
      depth: of a residual net with option A.
      widths: of its stages.
      epochs: of training.
      batch_size: images a step.
      pad: of the random crop.
    """

    data: dict[str, Any]
    depth: int = 20
    widths: tuple[int, ...] = (16, 32, 64)
    epochs: float = 6.0
    batch_size: int = 128
    pad: int = 4

    def config(self, seed: int) -> ConfigDict:
        """The recipe of He et al. 2015 in short: rate 0.1, divided by 10 twice."""
        config = load_recipe("resnet_cifar10")
        override(
            config,
            {f"data.{key}": value for key, value in self.data.items()}
            | {
                "seeds.first": seed,
                "seeds.count": 1,
                "model.depth": self.depth,
                "model.widths": self.widths,
                # Torch has a parameter for each block.
                "model.scan_blocks": False,
                "augment.crop_pad": self.pad,
                "train.batch_size": self.batch_size,
                "train.steps": 0,
                "train.epochs": self.epochs,
                "schedule.unit": "fraction",
                "schedule.boundaries": (0.5, 0.75),
                "eval.keep_best": False,
            },
        )
        return config


def run(
    task: Task, num_seeds: int, *, out: Path, repository: Path, publish: bool
) -> None:
    """Compares, prints and stores.

    Args:
      task: what is trained.
      num_seeds: at least 2.
      out: folder of `agreement.json`, `agreement.md` and the choices.
      repository: contains docs/benchmarks.md and docs/benchmarks/.
      publish: whether to write these.

    Raises:
      UserError: torch is not installed, or the data are not there.
    """
    if importlib.util.find_spec("torch") is None:
        raise UserError(
            "agreement compares with torch, which is not installed (extra `peers`)"
        )
    stored = compare(task, num_seeds, out)
    text = summary(stored)
    print(text)
    write_json(out / "agreement.json", stored)
    write_text(out / "agreement.md", text + "\n")
    if publish:
        with alone(repository):
            write_json(repository / "docs" / "benchmarks" / "agreement.json", stored)
            replace_block(repository / "docs" / "benchmarks.md", "agreement", text)


def torch_training(task: Task, run: Run, choices: Choices, **arguments: Any):
    """The same training in torch."""
    from benchmarks.peers.torch_training import Training

    optimizer, train = run.config.optimizer, run.dataset.train
    return Training(
        choices,
        train.images,
        train.labels,
        depth=task.depth,
        widths=task.widths,
        # As the program here is given them.
        momentum=float(np.float32(optimizer.momentum)),
        weight_decay=float(np.float32(optimizer.weight_decay)),
        **arguments,
    )


def in_float64(task: Task, seed: int, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses of the first steps in float64, (ours, torch's)."""
    import torch

    run = set_up(task.config(seed))
    choices, num_steps = record(run), min(num_steps, run.total_steps)
    theirs = torch_training(task, run, choices, dtype=torch.float64)
    return ours.first_losses(run, choices, num_steps), theirs.losses(num_steps)


def compare(task: Task, num_seeds: int, folder: Path) -> dict[str, Any]:
    """Trains all seeds in both; what random numbers decided stays in the folder.

    Returns:
      The record: see `summary` for what is made of it.
    """
    seeds = []
    for seed in range(num_seeds):
        run = set_up(task.config(seed))
        record(run).save(folder / f"choices-{seed}.npz")
        choices = Choices.load(folder / f"choices-{seed}.npz")
        losses, error = ours.trained(run)
        theirs = torch_training(task, run, choices)
        their_losses = theirs.losses(run.total_steps)
        test = run.dataset.test
        seeds.append(
            {
                "ours": _by_epoch(losses, run.steps_per_epoch),
                "torch": _by_epoch(their_losses, run.steps_per_epoch),
                "first_steps": _relative(losses, their_losses)[:FLOAT64_STEPS],
                "our_error": error,
                "torch_error": theirs.error(test.images, test.labels),
            }
        )
        print(
            f"seed {seed}: test error {error:.2f}% here, "
            f"{seeds[-1]['torch_error']:.2f}% in torch",
            file=sys.stderr,
            flush=True,
        )
    double = _relative(*in_float64(task, 0, FLOAT64_STEPS))
    run = set_up(task.config(0))
    return {
        "date": datetime.date.today().isoformat(),
        "commit": git_commit(),
        "command": f"./launch.sh agreement --dataset={task.data['name']} "
        f"--num_train={len(run.dataset.train)} --seeds={num_seeds} "
        f"--epochs={task.epochs:g} --depth={task.depth}",
        "machine": describe(),
        "data": f"{run.dataset.name}: {len(run.dataset.train):,} images to train, "
        f"{len(run.dataset.test):,} to test",
        "note": run.dataset.note,
        "depth": task.depth,
        "epochs": task.epochs,
        "steps": run.total_steps,
        "float64": double,
        "seeds": seeds,
    }


def summary(stored: dict[str, Any]) -> str:
    """The record in Markdown."""
    mine, torch = _curves(stored, "ours"), _curves(stored, "torch")
    first = np.asarray([seed["first_steps"] for seed in stored["seeds"]])
    errors = [(seed["our_error"], seed["torch_error"]) for seed in stored["seeds"]]
    lines = [
        f"ResNet-{stored['depth']}, {stored['data']}, {stored['epochs']:g} epochs, "
        f"{stored['steps']} steps, {len(mine)} seeds.",
        "",
        f"Largest relative difference of the loss over the first "
        f"{len(stored['float64'])} steps: {max(stored['float64']):.1g} in float64, "
        f"{first.max():.1g} in float32.",
        "",
        "| epoch | loss here | loss in torch | difference, same seed | between seeds |",
        "|---|---|---|---|---|",
    ]
    for i, (a, b) in enumerate(zip(mine.T, torch.T, strict=True)):
        lines.append(
            f"| {i + 1} | {a.mean():.4f} | {b.mean():.4f} | {np.abs(a - b).mean():.1g} "
            f"| {between(a):.1g} |"
        )
    here, there = np.mean(errors, axis=0)
    lines += [
        "",
        f"Test error: {here:.2f} % here, {there:.2f} % in torch; by seed "
        + ", ".join(f"{a:.2f} and {b:.2f}" for a, b in errors)
        + ".",
    ]
    if stored["note"]:
        lines += ["", f"The data: {stored['note']}."]
    lines += ["", measured(stored)]
    return "\n".join(lines)


def between(values: np.ndarray) -> float:
    """Mean difference of two seeds."""
    pairs = np.abs(values[:, None] - values[None])
    return float(pairs.sum() / max(1, len(values) * (len(values) - 1)))


def within_spread(stored: dict[str, Any]) -> bool:
    """Whether here and torch differ by no more than two seeds do, in every epoch."""
    mine, torch = _curves(stored, "ours"), _curves(stored, "torch")
    return all(
        np.abs(a - b).mean() <= between(a) for a, b in zip(mine.T, torch.T, strict=True)
    )


def _curves(stored: dict[str, Any], name: str) -> np.ndarray:
    return np.asarray([seed[name] for seed in stored["seeds"]])  # [seeds, epochs]


def _by_epoch(losses: np.ndarray, steps_per_epoch: float) -> list[float]:
    epochs = (np.arange(len(losses)) / steps_per_epoch).astype(int)
    return [float(losses[epochs == epoch].mean()) for epoch in np.unique(epochs)]


def _relative(a: np.ndarray, b: np.ndarray) -> list[float]:
    return [float(x) for x in np.abs(a - b) / np.abs(b)]
