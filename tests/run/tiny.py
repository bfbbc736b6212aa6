"""A tiny run for tests of training, and `fit` with a display that listens."""

from types import SimpleNamespace

from cnnjax.config import override
from cnnjax.data.dataset import load_dataset
from cnnjax.data.request import Request
from cnnjax.interrupt import StopRequest
from cnnjax.records import read_metrics
from cnnjax.run import loop
from cnnjax.run.setup import set_up
from configs import base

# 24 training images in batches of 8: three steps an epoch.
DATA = {
    "name": "synthetic",
    "num_train": 24,
    "num_validation": 9,
    "num_test": 10,
    "image_size": 4,
    "num_classes": 3,
}
CHANGES = {
    "train.batch_size": 8,
    "train.steps": 9,
    "train.epochs": 0.0,
    "schedule.kind": "constant",
    "eval.batch_size": 8,
    "checkpoint.every_epochs": 1.0,
    "log.tensorboard": False,
}


def tiny_config(model="mlp", arguments=None, **changes):
    """A config of an MLP with 6 hidden units; keys of `changes` have __ for a dot."""
    config = base.get_config()
    for key, value in DATA.items():
        config.data[key] = value
    own = {"widths": (6,)} if model == "mlp" else {}
    with config.unlocked():
        config.model = base.model_section(model, **(own | (arguments or {})))
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    override(config, CHANGES | dotted)
    return config


def tiny_run(model="mlp", arguments=None, **changes):
    config = tiny_config(model, arguments, **changes)
    return set_up(config, load_dataset(Request(**config.data)))


RESNET = {"depth": 4, "widths": (4,)}


class Shown:
    """A progress display that keeps what it is told, and may ask to stop."""

    def __init__(self, stop_at=None):
        self.stop, self.stop_at = StopRequest(), stop_at
        self.first_step, self.updates, self.ended = None, [], None

    def prepare_run(self, name):
        """Is told before programs are compiled."""

    def start_run(self, name, total_steps, first_step):
        self.first_step = first_step
        return self

    def update(self, step, metrics, images_per_second):
        self.updates.append(step)
        if self.stop_at is not None and step >= self.stop_at:
            self.stop.set(15)

    def end(self, status):
        self.ended = status


def fit(run, path, stop_at=None, name="tiny", shown=None):
    shown, warnings = shown or Shown(stop_at), []
    results = loop.fit(
        run,
        path,
        name=name,
        progress=shown,
        stop=shown.stop,
        warn=warnings.append,
    )
    return SimpleNamespace(results=results, shown=shown, warnings=warnings)


def rows_of(path, seed=0):
    return read_metrics(path / f"seed-{seed}" / "metrics.jsonl")
