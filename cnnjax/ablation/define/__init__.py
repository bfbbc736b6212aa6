"""What a definition may say: axes, arms, published numbers, claims, scales."""

from cnnjax.ablation.define.axes import Axis, Gate, Scale
from cnnjax.ablation.define.claims import (
    above,
    below,
    falls_more,
    higher,
    lower,
    not_higher,
    rises_more,
)
from cnnjax.ablation.define.papers import Paper, Published
from cnnjax.ablation.define.spec import Ablation

__all__ = [
    "Ablation",
    "Axis",
    "Gate",
    "Paper",
    "Published",
    "Scale",
    "above",
    "below",
    "falls_more",
    "higher",
    "lower",
    "not_higher",
    "rises_more",
]
