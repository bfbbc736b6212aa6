"""Suite startup: seconds until a program answers, measured over whole processes."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import interleave
from benchmarks.rows import Row, rows_of
from cnnjax.cache import VARIABLE

ROOT = Path(__file__).parents[2]
MOST_ROUNDS = 5
PATIENCE = 300  # seconds
FIRST_STEP = "first training step, CIFAR ResNet-20"
# Synthetic images of the size of CIFAR-10: delivery is measured by the suite `data`.
TRAINING = (
    "--config=configs/resnet_cifar10.py",
    "--config.data.name=synthetic",
    "--config.data.num_train=5000",
    "--config.data.num_validation=100",
    "--config.data.num_test=100",
    "--config.log.every_epochs=0.0001",
    "--config.checkpoint.every_epochs=0.0",
)


def suite(options) -> list[Row]:
    """Programs that only print, and a run up to its first training step."""
    rounds = min(options.rounds, MOST_ROUNDS)
    rows = []
    answers = {
        "train --help": lambda: run("train", "--help"),
        "models": lambda: run("models"),
        "import of jax alone": lambda: call("-c", "import jax"),
    }
    if options.only.lower() in "answers":
        times = interleave(answers, rounds=rounds, warm_up=1)
        rows += rows_of("answers", times, "import of jax alone", unit="start")
    if options.only.lower() in FIRST_STEP.lower():
        with tempfile.TemporaryDirectory() as warm:
            ways = {
                "warm cache of programs": lambda: first_step(warm),
                "no cache": lambda: first_step(""),
            }
            times = interleave(ways, rounds=rounds, warm_up=1)
        rows += rows_of(FIRST_STEP, times, "no cache", unit="start")
    return rows


def call(*arguments: str) -> None:
    """Runs Python to its end."""
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, **QUIET)


def run(program: str, *arguments: str) -> None:
    """Runs a program of experiments/ to its end."""
    call("-m", f"experiments.{program}", *arguments)


def first_step(cache: str) -> None:
    """Starts a run and waits for the metrics of its first step.

    Raises:
      RuntimeError: it ended, or took too long, without any.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "experiments.train", *TRAINING]
        process = subprocess.Popen(
            [*command, f"--workdir={folder}/run"],
            cwd=ROOT,
            env=os.environ | {VARIABLE: cache},
            **QUIET,
        )
        rows = Path(folder, "run", "seed-0", "metrics.jsonl")
        end = time.perf_counter() + PATIENCE
        try:
            while not (rows.is_file() and rows.stat().st_size):
                if process.poll() is not None or time.perf_counter() > end:
                    raise RuntimeError("the run wrote no metrics")
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait()


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
