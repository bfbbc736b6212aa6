"""Constructors of definitions that are not converted yet."""

from types import MappingProxyType

from cnnjax.ablation.define.papers import NOT_RECORDED
from cnnjax.ablation.define.papers import Published as NewPublished
from cnnjax.ablation.define.spec import Ablation, Axis
from cnnjax.ablation.define.spec import Claim as NewClaim
from cnnjax.ablation.define.spec import Scale as NewScale

__all__ = ["Ablation", "Axis", "Claim", "Published", "Scale"]


def Claim(name, text, source, metric, contrast, margin=0.0, published=None):
    return NewClaim(
        name=name,
        text=text,
        source=source,
        metric=metric,
        contrast=contrast,
        margin=margin,
        published=published,
    )


def Published(arm, metric, value, source, note=""):
    return NewPublished(
        source=source,
        metric=metric,
        data=NOT_RECORDED,
        values={arm: value},
        protocol=note,
    )


def Scale(
    recipe,
    overrides=MappingProxyType({}),
    axes=MappingProxyType({}),
    num_seeds=5,
    note="",
    as_published=False,
    also=(),
    jobs=0,
):
    scale = NewScale(
        recipe=recipe,
        overrides=dict(overrides),
        grids=[axes, *also],
        seeds=num_seeds,
        note=note,
        as_published=as_published,
        jobs=jobs,
    )
    return scale
