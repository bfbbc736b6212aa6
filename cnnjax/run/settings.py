"""Sections of a config that control the loop, checked: one dataclass a section."""

import dataclasses

from ml_collections import ConfigDict

from cnnjax.config import splat
from cnnjax.data.cutting.geometry import Geometry
from cnnjax.data.dataset import Dataset
from cnnjax.data.request import Request
from cnnjax.data.standardize import STANDARDIZE
from cnnjax.devices.distributed import num_processes
from cnnjax.devices.layout import nearest, parse_layout
from cnnjax.errors import UserError, in_range, unknown_name
from cnnjax.probes import PROBES
from cnnjax.training.hyperparameters import Hyperparameters
from cnnjax.training.multi_view import Views

INFINITY = float("inf")
SEED_MODES = ("auto", "loop", "vmap")
STATISTICS = ("running", "precise", "batch")
WEIGHTS = ("raw", "ema")
MODES = ("jit", "shard_map", "pmap")


def data_request(config: ConfigDict) -> Request:
    """What sections `data` and `geometry` ask of a source.

    Raises:
      UserError: a key or value that is not understood.
    """
    asked = splat("data", Request, config.data, geometry=geometry_of(config))
    if callable(STANDARDIZE.get(config.augment.standardize)):
        return asked
    return dataclasses.replace(asked, measured_images=0)  # nothing is measured


def pixels_of_batch(config: ConfigDict, dataset: Dataset) -> int:
    """Of the images of one training step."""
    height, width, _ = dataset.image_shape
    return config.train.batch_size * height * width


def geometry_of(config: ConfigDict) -> Geometry:
    """Section `geometry`, checked."""
    return splat("geometry", Geometry, config.geometry)


@dataclasses.dataclass(frozen=True)
class SeedSettings:
    """Section `seeds`: seeds first, first + 1, ..., count of them."""

    first: int
    count: int

    def __post_init__(self):
        in_range("seeds.first", self.first, 0, 2**31 - 1)
        in_range("seeds.count", self.count, 1, 10_000)

    def hyperparameters(self) -> Hyperparameters:
        """Only their number is compiled."""
        return Hyperparameters(self.count)

    def numbers(self) -> tuple[int, ...]:
        return tuple(range(self.first, self.first + self.count))


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """Section `train`; see configs/base.py for each key."""

    batch_size: int
    steps: int
    epochs: float
    ema_decay: float
    dtype: str
    microbatches: int
    steps_per_dispatch: int
    seed_mode: str
    impl: str
    deterministic: bool

    def __post_init__(self):
        in_range("train.batch_size", self.batch_size, 1, INFINITY, "images")
        in_range("train.steps", self.steps, 0, INFINITY)
        in_range("train.epochs", self.epochs, 0, INFINITY)
        in_range("train.ema_decay", self.ema_decay, 0, 1 - 1e-9)
        in_range("train.microbatches", self.microbatches, 1, INFINITY)
        in_range("train.steps_per_dispatch", self.steps_per_dispatch, 0, INFINITY)
        if self.batch_size % self.microbatches:
            raise UserError(
                f"config.train.batch_size is {self.batch_size} and does not divide "
                f"into {self.microbatches} micro-batches: the nearest that do are "
                f"{nearest(self.batch_size, self.microbatches)} "
                "(config.train.microbatches, config.train.batch_size)"
            )
        if self.seed_mode not in SEED_MODES:
            raise unknown_name(
                "seed mode", self.seed_mode, SEED_MODES, "config.train.seed_mode"
            )
        if bool(self.steps) == bool(self.epochs):
            raise UserError(
                f"config.train.steps is {self.steps} and config.train.epochs is "
                f"{self.epochs}: exactly one of them must be above 0"
            )

    def hyperparameters(self) -> Hyperparameters:
        """Steps are counted on the host; of the average, only that there is one."""
        static = dataclasses.replace(self, steps=1, epochs=0.0, ema_decay=0.0)
        return Hyperparameters(
            (static, self.ema_decay > 0), {"ema_decay": self.ema_decay}
        )

    def total_steps(self, num_train: int) -> int:
        """Optimizer steps of the run."""
        if not self.epochs:
            return self.steps
        return max(1, round(self.epochs * num_train / self.batch_size))


@dataclasses.dataclass(frozen=True)
class EvalSettings:
    """Section `eval`."""

    batch_size: int
    every_epochs: float
    statistics: str
    precise_batches: int
    weights: str
    keep_best: bool
    probes: tuple[str, ...]
    flip: bool = False
    crops: str = "whole"
    crop_size: int = 0
    scales: tuple[float, ...] = ()
    members: int = 1
    snapshots: int = 1

    def __post_init__(self):
        in_range("eval.members", self.members, 1, 10_000, "seeds")
        in_range("eval.snapshots", self.snapshots, 1, 1000)
        if self.statistics == "batch" and not self.views.is_plain:
            raise UserError(
                f"config.eval.statistics is 'batch', and views ({self.views.words}) "
                "would share it: take other statistics, or whole images alone "
                "(config.eval.flip, crops, scales)"
            )
        in_range("eval.batch_size", self.batch_size, 1, INFINITY, "images")
        in_range("eval.every_epochs", self.every_epochs, 0, INFINITY)
        in_range("eval.precise_batches", self.precise_batches, 1, INFINITY)
        if self.statistics not in STATISTICS:
            raise unknown_name(
                "statistics", self.statistics, STATISTICS, "config.eval.statistics"
            )
        if self.weights not in WEIGHTS:
            raise unknown_name("weights", self.weights, WEIGHTS, "config.eval.weights")
        for probe in self.probes:
            if probe not in PROBES:
                raise unknown_name("probe", probe, PROBES, "config.eval.probes")

    @property
    def views(self) -> Views:
        """What nets see of each image in the last evaluation."""
        return Views(self.flip, self.crops, self.crop_size, self.scales)


@dataclasses.dataclass(frozen=True)
class CheckpointSettings:
    """Section `checkpoint`."""

    every_epochs: float
    keep_last: int

    def __post_init__(self):
        in_range("checkpoint.every_epochs", self.every_epochs, 0, INFINITY)
        in_range("checkpoint.keep_last", self.keep_last, 1, INFINITY)


@dataclasses.dataclass(frozen=True)
class ParallelSettings:
    """Section `parallel`."""

    mode: str
    layout: str
    devices: int
    shard_state: bool

    def __post_init__(self):
        in_range("parallel.devices", self.devices, 0, INFINITY)
        if self.mode not in MODES:
            raise unknown_name(
                "mode", self.mode, MODES, "config.parallel.mode (--parallel.mode)"
            )
        if self.layout != "auto":
            parse_layout(self.layout)
        if self.mode == "pmap" and num_processes() > 1:
            raise UserError(
                f"--parallel.mode=pmap runs in one process and there are "
                f"{num_processes()}: use jit or shard_map (config.parallel.mode)"
            )
        if self.shard_state and self.mode != "jit":
            raise UserError(
                f"config.parallel.shard_state is for --parallel.mode=jit, not "
                f"{self.mode!r}: only there XLA puts the state together where it is "
                "used"
            )


@dataclasses.dataclass(frozen=True)
class LogSettings:
    """Section `log`."""

    every_epochs: float
    tensorboard: bool

    def __post_init__(self):
        in_range("log.every_epochs", self.every_epochs, 1e-9, INFINITY)
