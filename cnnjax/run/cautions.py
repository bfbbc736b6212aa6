"""Settings that are legal and probably not meant: a sentence each, before training."""

from collections.abc import Iterable, Mapping

import numpy as np

from cnnjax.data.augment.mix import NAMES as MIXES
from cnnjax.layers.norm import norm_of
from cnnjax.run.setup import Run
from cnnjax.training.schedule import in_steps

# From so many steps on, a run without a checkpoint before its end can lose much.
LONG_RUN = 5000


def cautions(run: Run) -> dict[str, str]:
    """Name of a check -> its sentence, for each that finds something."""
    found = {name: check(run) for name, check in CHECKS.items()}
    return {name: sentence for name, sentence in found.items() if sentence}


def cautions_of_arms(runs: Mapping[str, Run]) -> list[str]:
    """One sentence per check for all arms together.

    What short scales do on purpose is left out: few rows, no warm-up.
    """
    arms: dict[str, list[tuple[str, str]]] = {}
    for name, run in runs.items():
        for check, sentence in cautions(run).items():
            if check not in ON_PURPOSE:
                arms.setdefault(check, []).append((name, sentence))
    return [
        f"{of_check[0][0]}{_and_more(len(of_check))}: {of_check[0][1]}"
        for of_check in arms.values()
    ]


def _and_more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def _late_boundaries(run: Run) -> str:
    schedule, end = run.config.schedule, run.total_steps
    late = [edge for edge in _steps(run, schedule.boundaries) if edge >= end]
    if schedule.kind != "step" or not late:
        return ""
    effect = f"nothing changes at {_listed(late)}"
    if len(late) == len(schedule.boundaries):
        effect = f"the rate stays at {schedule.learning_rate:g}"
    return (
        "config.schedule.boundaries are steps "
        f"{_listed(_steps(run, schedule.boundaries))} and training ends at step "
        f"{end:,}: {effect} (as shares of any budget: config.schedule.unit=fraction, "
        "config.schedule.boundaries=0.5,0.75)"
    )


def _warmup(run: Run) -> str:
    schedule = run.config.schedule
    (warm,) = _steps(run, [schedule.warmup])
    if schedule.warmup and not warm:
        return (
            f"config.schedule.warmup={schedule.warmup:g} ({schedule.unit}) is less "
            f"than half a step of a run of {run.total_steps:,}: there is no warm-up"
        )
    edges = _steps(run, schedule.boundaries)
    if warm and schedule.kind == "step" and any(edge <= warm for edge in edges):
        return (
            f"config.schedule.warmup ends at step {warm:,}, after the first of "
            f"config.schedule.boundaries at step {edges[0]:,}: the rate never stays at "
            f"its peak of {schedule.learning_rate:g}"
        )
    return ""


def _rates(run: Run) -> str:
    schedule = run.config.schedule
    (warm,) = _steps(run, [schedule.warmup])
    keys = ["final_learning_rate"] * (schedule.kind in ("cosine", "linear"))
    keys += ["warmup_learning_rate"] * (warm > 0)
    above = [key for key in keys if schedule[key] > schedule.learning_rate]
    if not above:
        return ""
    return (
        f"config.schedule.{above[0]}={schedule[above[0]]:g} is above the peak, "
        f"config.schedule.learning_rate={schedule.learning_rate:g}"
    )


def _budget(run: Run) -> str:
    epochs, size = run.train.epochs, len(run.dataset.train)
    if not epochs or epochs * size / run.train.batch_size >= 0.5:
        return ""
    return (
        f"config.train.epochs={epochs:g} is less than half a step of "
        f"{run.train.batch_size:,} images: one step is trained"
    )


def _batch(run: Run) -> str:
    size, batch = len(run.dataset.train), run.train.batch_size
    if batch <= size:
        return ""
    return (
        f"config.train.batch_size is {batch:,} and there are {size:,} training images: "
        "every step sees images more than once"
    )


def _statistic(run: Run) -> str:
    norm = norm_of(run.model)
    return (norm and norm.caution(run.train.batch_size)) or ""


def _mixup(run: Run) -> str:
    on = [name for name in MIXES if run.config.augment[name]]
    if not on or run.train.batch_size > 1:
        return ""
    return f"config.augment.{on[0]} mixes an image with itself in a batch of one"


def _classes(run: Run) -> str:
    """Of a set that is there; of one that is only declared, what is certain."""
    dataset, count = run.dataset, run.dataset.num_classes
    if dataset.contents:
        missing = np.flatnonzero(dataset.contents.taken["train"][1] == 0)
    else:
        missing = np.arange(len(dataset.train), count)
    if not len(missing):
        return ""
    names = ""
    if dataset.contents:
        first = [str(dataset.class_names[i]) for i in missing[:3]]
        names = f" ({', '.join(first)}{', ...' if len(missing) > 3 else ''})"
    return (
        f"{len(missing)} of {count} classes{names} have no image among the "
        f"{len(dataset.train):,} for training: nothing can be learnt about them "
        "(config.data.num_train)"
    )


def _validation(run: Run) -> str:
    train, validation = len(run.dataset.train), len(run.dataset.validation)
    if validation <= train:
        return ""
    return (
        f"there are {validation:,} images for validation and {train:,} for training "
        "(config.data.num_validation, config.data.num_train)"
    )


def _intervals(run: Run) -> str:
    sections = ["log", "eval"] if len(run.dataset.validation) else ["log"]
    sections += ["checkpoint"] * (run.total_steps >= LONG_RUN)
    long = [
        f"config.{section}.every_epochs={run.config[section].every_epochs:g}"
        for section in sections
        if run.interval(run.config[section].every_epochs) > run.total_steps
    ]
    if not long:
        return ""
    epochs = run.total_steps / run.steps_per_epoch
    return (
        f"the run of {epochs:.3g} epochs is shorter than {' and '.join(long)}: each "
        "comes once, at the end"
    )


def _unfreezing(run: Run) -> str:
    groups = run.trainable.groups if run.trainable else ()
    late = [group.first_step for group in groups if group.first_step >= run.total_steps]
    if not late:
        return ""
    return (
        f"config.start.unfreeze_epochs lets parameters begin at step {_listed(late)}, "
        f"and training ends at step {run.total_steps:,}: they never train"
    )


def _steps(run: Run, values: Iterable[float]) -> list[int]:
    unit = run.config.schedule.unit
    return in_steps(values, unit, run.total_steps, run.steps_per_epoch)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)


def _unfinished(run: Run) -> str:
    return run.began.origin.unfinished if run.began else ""


CHECKS = {
    "start": _unfinished,
    "boundaries": _late_boundaries,
    "warmup": _warmup,
    "rates": _rates,
    "budget": _budget,
    "batch": _batch,
    "statistic": _statistic,
    "mixup": _mixup,
    "average": lambda run: run.long_decay() or "",
    "classes": _classes,
    "validation": _validation,
    "intervals": _intervals,
    "unfreezing": _unfreezing,
}
ON_PURPOSE = ("warmup", "validation", "intervals")
