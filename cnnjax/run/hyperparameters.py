"""Which numbers of a config enter the training program from outside.

Runs that differ in nothing else share one compiled program. A key stands here if and
only if its value reaches the program as an argument, or not at all.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from cnnjax.config import IRRELEVANT, flatten

# Factors: arguments of every call of the program, by the last part of the key.
FACTORS = (
    "optimizer.momentum",
    "optimizer.b1",
    "optimizer.b2",
    "optimizer.epsilon",
    "optimizer.weight_decay",
    "optimizer.clip_norm",
    "loss.label_smoothing",
    "loss.auxiliary_weight",
    "train.ema_decay",
)
# What decides, on the host, where training starts, how many steps there are, their
# rates and their seeds.
HOST = ("init.", "schedule.", "train.steps", "train.epochs", "seeds.first")
# Factors for which 0 is "off": a program of its own, with less to compute.
SWITCHES = ("optimizer.clip_norm", "train.ema_decay")


def factors(config: Mapping) -> dict[str, np.float32]:
    """The arguments of the training program, such as {'momentum': 0.9, ...}."""
    flat = flatten(config)
    return {key.partition(".")[2]: np.float32(flat[key]) for key in FACTORS}


def is_traced(key: str) -> bool:
    """Whether runs that differ in this dotted key alone share their program."""
    section = key.partition(".")[0] + "."
    return key in FACTORS or key in HOST or section in HOST


def program_key(config: Mapping) -> Hashable:
    """Everything in a config that the compiled programs are made of."""
    flat: dict[str, Any] = flatten(config)
    kept = {
        key: repr(value)
        for key, value in flat.items()
        if not is_traced(key) and not key.startswith(IRRELEVANT)
    }
    return (*kept.items(), *(flat[key] > 0 for key in SWITCHES))
