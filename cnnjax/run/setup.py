"""From a config to all parts of a run, checked before training starts."""

import dataclasses
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from cnnjax.analysis.complexity import model_multiply_adds
from cnnjax.analysis.contract import examine
from cnnjax.config import splat, unknown_key
from cnnjax.data.augment import Augment
from cnnjax.data.augment.mix import NAMES as MIXES
from cnnjax.data.dataset import Dataset, load_dataset
from cnnjax.data.preprocess import Preprocess
from cnnjax.devices.allocator import suit_heaps
from cnnjax.devices.available import num_usable, require_devices
from cnnjax.devices.distributed import num_processes
from cnnjax.devices.layout import choose_layout, describe
from cnnjax.devices.parallel import Parallel
from cnnjax.errors import UserError
from cnnjax.layers.functional.implementation import checked
from cnnjax.layers.init import Declared
from cnnjax.layers.norm import Norm, norm_of
from cnnjax.models.registry import create_model
from cnnjax.net.initialize import KernelInit, abstract_variables, draw_variables
from cnnjax.net.stacked import stacks_of
from cnnjax.probes import check_probes
from cnnjax.run.divisible import check_batch, check_net, why_not
from cnnjax.run.images.prepare import prepared
from cnnjax.run.images.views import check_views, last_views
from cnnjax.run.progress import Load
from cnnjax.run.settings import (
    CheckpointSettings,
    EvalSettings,
    LogSettings,
    ParallelSettings,
    SeedSettings,
    TrainSettings,
    data_request,
    geometry_of,
    pixels_of_batch,
)
from cnnjax.run.starting.began import Began
from cnnjax.run.starting.starting import start_of
from cnnjax.start.section import Start, resolved
from cnnjax.training.average import long_decay, start_average, statistics_used
from cnnjax.training.hyperparameters import Hyperparameters
from cnnjax.training.loss import Loss, make_loss, refuse_mixtures
from cnnjax.training.multi_view import Views
from cnnjax.training.optimizer import Optimizer, make_optimizer
from cnnjax.training.schedule import make_schedule
from cnnjax.training.state import TrainState, weights_of
from cnnjax.training.trainable import Trainable

SECTIONS = (
    "seeds",
    "data",
    "geometry",
    "augment",
    "model",
    "norm",
    "init",
    "start",
    "loss",
    "optimizer",
    "schedule",
    "train",
    "parallel",
    "eval",
    "checkpoint",
    "log",
)
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Run:
    """The parts of one run: pure functions, arrays and checked settings.

    `declared` holds the shapes of the net's variables with their initializers;
    `hyperparameters` the traced ones by section; `static` what else is compiled of the
    sections whose builders tell the two apart. `began` is where weights come from that
    are not drawn, `trainable` what of them trains (None for all), `stays` the batch
    norms whose statistics do not move, `featured` whether the head is given features
    that are computed once.
    """

    config: ConfigDict
    dataset: Dataset
    model: nn.Module
    augment: Augment
    preprocess: Preprocess
    schedule: Any
    loss: Loss
    optimizer: Optimizer
    hyperparameters: dict[str, dict[str, np.float32]]
    static: dict[str, Hashable]
    seeds: tuple[int, ...]
    train: TrainSettings
    parallel: Parallel
    eval: EvalSettings
    checkpoint: CheckpointSettings
    log: LogSettings
    declared: Any
    num_params: int
    multiply_adds: int
    began: Began | None = None
    trainable: Trainable | None = None
    stays: tuple[str, ...] = ()
    featured: bool = False

    @property
    def steps_per_epoch(self) -> float:
        return len(self.dataset.train) / self.train.batch_size

    @property
    def total_steps(self) -> int:
        return self.train.total_steps(len(self.dataset.train))

    @property
    def eval_batch_size(self) -> int:
        """Images per batch of evaluation: as asked, made to divide over devices."""
        unit = self.parallel.layout.data
        return -(-self.eval.batch_size // unit) * unit

    @property
    def views(self) -> Views:
        """Of each image in the last evaluation."""
        size = self.dataset.image_shape[0]
        return last_views(self.eval, geometry_of(self.config), size)

    @property
    def keeps_best(self) -> bool:
        """Whether the weights that are best on validation are kept."""
        return self.eval.keep_best and len(self.dataset.validation) > 0

    def evaluated(self, *, final: bool) -> dict[str, str | None]:
        """Weights, and statistics of batch norm, of an evaluation; None without any."""
        weights = self.eval.weights
        used = statistics_used(self.eval.statistics, weights, final=final)
        keeps_any = "batch_stats" in self.declared
        found = {"weights": weights, "statistics": used if keeps_any else None}
        views = self.views.words if final else ""
        return found | ({"views": views} if views else {})

    def long_decay(self) -> str | None:
        """A sentence if the moving average is too slow for the number of steps."""
        used = self.evaluated(final=True)["statistics"]
        return long_decay(self.train.ema_decay, self.total_steps, used)

    @property
    def saves_memory(self) -> bool:
        """Whether blocks or stages are computed again for the gradient."""
        return getattr(self.model, "remat", "none") != "none"

    def laid_out(self) -> str:
        """How the run is laid out over devices, in one line."""
        layout, mode = self.parallel.layout, self.parallel.mode
        return describe(layout, mode, len(self.seeds), self.train.batch_size)

    def interval(self, every_epochs: float) -> int:
        """Steps between events; 0 epochs means at the end only."""
        if not every_epochs:
            return self.total_steps
        return max(1, round(every_epochs * self.steps_per_epoch))

    def work(self) -> float:
        """Multiply-adds of the whole run: forward, and twice that for the gradient."""
        images = self.total_steps * self.train.batch_size * len(self.seeds)
        return 3.0 * self.multiply_adds * images

    def load(self) -> Load:
        """What it has to do, for a forecast."""
        leaves = jax.tree.leaves(
            self.declared["params"], is_leaf=lambda leaf: isinstance(leaf, Declared)
        )
        blocks = [len(leaf.stacked[1]) if leaf.stacked else 1 for leaf in leaves]
        return Load(self.work(), sum(blocks), probed=bool(self.eval.probes))


def set_up(
    config: ConfigDict,
    dataset: Dataset | None = None,
    parent: Run | None = None,
    trained: Path | None = None,
) -> Run:
    """Builds and checks all parts of a run.

    Args:
      config: as `configs/base.py`, with a recipe's changes.
      dataset: the data of section `data`, if already read.
      parent: the run that it starts from, if that is set up and not trained yet.
      trained: its folder, where it is only evaluated: what it started from may be gone.

    Returns:
      The run, with nothing compiled and nothing on a device yet.

    Raises:
      UserError: a section, key or value that no part understands.
    """
    for section in config:
        if section not in SECTIONS:
            raise unknown_key(section, SECTIONS)
    for section in SECTIONS:
        if section not in config:
            raise UserError(
                f"config lacks the section {section!r}: start the recipe from "
                "configs/base.py"
            )
    config = resolved(config)
    # The cheap sections first: a wrong value should not wait for the data.
    settings = {
        section: splat(section, builder, config[section])
        for section, builder in (
            ("seeds", SeedSettings),
            ("train", TrainSettings),
            ("parallel", ParallelSettings),
            ("eval", EvalSettings),
            ("checkpoint", CheckpointSettings),
            ("log", LogSettings),
            ("init", KernelInit),
            ("start", Start),
        )
    }
    norm = splat("norm", Norm, config.norm)
    loss = splat("loss", make_loss, config.loss)
    for name in MIXES:
        if config.augment.get(name):
            refuse_mixtures(config.loss.kind, f"augment.{name}", config.augment[name])
    checked(config.train.impl)
    if dataset is None:
        dataset = load_dataset(data_request(config))
        suit_heaps(pixels_of_batch(config, dataset))
    if len(dataset.train) == 0:
        raise UserError(
            f"data set {dataset.name} leaves no training image: lower "
            "config.data.num_validation or config.data.num_test"
        )
    require_devices()
    model = splat(
        "model",
        create_model,
        config.model,
        norm=norm,
        num_classes=dataset.num_classes,
        dtype=config.train.dtype,
    )
    total_steps = settings["train"].total_steps(len(dataset.train))
    schedule = splat(
        "schedule",
        make_schedule,
        config.schedule,
        total_steps=total_steps,
        steps_per_epoch=len(dataset.train) / config.train.batch_size,
    )
    declared = settings.pop("init").applied(
        abstract_variables(model, dataset.image_shape)
    )
    optimizer = splat(
        "optimizer", make_optimizer, config.optimizer, stacks=stacks_of(declared)
    )
    optimizer.static.decayed(declared["params"])  # refuses before anything is compiled
    start, seeds = settings.pop("start"), settings["seeds"].numbers()
    net = model, norm_of(model) or norm, declared
    starting = start_of(start, config, dataset, *net, seeds, parent, trained)
    findings = examine(model, declared, dataset.image_shape, dataset.num_classes)
    check_net(findings, model, declared, config)
    sizes = split_sizes(dataset)
    check_probes(settings["eval"].probes, model, dataset.image_shape, sizes)
    members, count = settings["eval"].members, config.seeds.count
    if members > count:
        raise UserError(
            f"config.eval.members is {members}, of {count} seeds: give more seeds "
            "(--seeds), or fewer members"
        )
    of_eval = settings["eval"], geometry_of(config)
    check_views(*of_eval, model, declared, dataset.image_shape)
    images = prepared(config, dataset, starting.statistics)
    if config.eval.weights == "ema" and not config.train.ema_decay:
        raise UserError(
            "config.eval.weights is 'ema' but config.train.ema_decay is 0: there is no "
            "moving average to evaluate"
        )
    norm = norm_of(model)
    check_batch(norm, findings, config)
    built = {
        "loss": loss,
        "optimizer": optimizer,
        "seeds": settings["seeds"].hyperparameters(),
        "train": settings["train"].hyperparameters(),
        # Initial values and learning rates are made on the host.
        "init": Hyperparameters(),
        "schedule": Hyperparameters(),
        "start": Hyperparameters(starting.key()),
    }
    del settings["seeds"]
    wanted = settings.pop("parallel")
    layout = choose_layout(
        wanted.layout,
        num_devices=num_usable(wanted.devices, wanted.layout),
        num_seeds=len(seeds),
        batch_size=config.train.batch_size,
        microbatches=config.train.microbatches,
        num_processes=num_processes(),
        refuse=lambda data: why_not(norm, findings, config, data),
    )
    return Run(
        config=config,
        dataset=dataset,
        model=model,
        augment=images.augment,
        preprocess=images.preprocess,
        schedule=schedule,
        loss=loss.static,
        optimizer=optimizer.static,
        hyperparameters={
            section: {name: np.float32(value) for name, value in made.traced.items()}
            for section, made in built.items()
            if made.traced
        },
        static={section: made.static for section, made in built.items()},
        seeds=seeds,
        parallel=Parallel(wanted.mode, layout, wanted.shard_state),
        **settings,
        declared=declared,
        num_params=sum(leaf.size for leaf in jax.tree.leaves(declared["params"])),
        multiply_adds=model_multiply_adds(model, dataset.image_shape, declared),
        **starting.parts(),
    )


def initial_state(run: Run) -> TrainState:
    """The state before the first step, on the host, for all seeds.

    Shapes: every leaf is [num seeds, ...].
    """
    variables = draw_variables(run.declared, run.seeds)
    if run.began:
        variables = run.began.over(run.declared, variables, run.seeds)
    params = variables.pop("params")
    num_seeds = len(run.seeds)
    one_seed = jax.tree.map(lambda leaf: leaf[0], params)
    opt_state = jax.tree.map(
        lambda leaf: np.broadcast_to(np.asarray(leaf), (num_seeds, *leaf.shape)),
        run.trainable.init(run.optimizer, one_seed)
        if run.trainable
        else run.optimizer.init(one_seed),
    )
    step: Any = np.zeros(num_seeds, np.int32)
    return TrainState(
        step=step,
        params=params,
        model_state=variables,
        opt_state=opt_state,
        ema=start_average(params, variables) if run.train.ema_decay else None,
    )


def saved_example(run: Run) -> dict[str, Any]:
    """The tree of a checkpoint: the state, and the best weights on validation.

    Returns:
      {'state': initial state, 'best': (params, model_state) or None where no best is
      kept}, on the host.
    """
    state = initial_state(run)
    best = None
    if run.keeps_best:
        best = jax.tree.map(np.copy, weights_of(state, run.eval.weights))
    return {"state": state, "best": best}


def split_sizes(dataset: Dataset) -> dict[str, int]:
    """Images of each split, in the order of `SPLITS`."""
    return {split: len(getattr(dataset, split)) for split in SPLITS}
