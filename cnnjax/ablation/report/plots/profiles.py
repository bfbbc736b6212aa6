"""Draws measurements of probes over the depth of nets, or over an amount."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cnnjax.ablation.judge.collect import Sweep
from cnnjax.ablation.report.plots.curves import short_label
from cnnjax.ablation.report.plots.scales import (
    log_locator,
    plain_ticks,
    wrapped_title,
)
from cnnjax.ablation.report.plots.series import show_legend, style, x_name
from cnnjax.ablation.report.plots.words import drawn

# Values that span more than this factor are drawn on a logarithmic axis.
MOST_LINEAR = 30.0
MOST_MARKED = 30  # points of a line with markers


@dataclasses.dataclass(frozen=True)
class Profile:
    """One profile of one probe, over all runs that count.

    Attributes:
      probe: name of the probe.
      name: of the profile; '' if the probe has only one.
      x: title of the horizontal axis.
      y: of the vertical one.
      values: arm -> (positions, values [seeds, positions]).
    """

    probe: str
    name: str
    x: str
    y: str
    values: Mapping[str, tuple[np.ndarray, np.ndarray]]


def profiles_of(sweep: Sweep) -> list[Profile]:
    """All profiles of finished runs, in the order of `result.json`."""
    found: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = {}
    for row in sweep.rows:
        if row.status == "done":
            for probe, record in (row.result.get("probes") or {}).items():
                for name, profile in record["profiles"].items():
                    by_arm = found.setdefault((probe, name), {})
                    by_arm.setdefault(row.arm, []).append(profile)
    profiles = []
    for (probe, name), by_arm in found.items():
        x, y = next(iter(by_arm.values()))[0]["axes"]
        values = {arm: _table(seeds) for arm, seeds in by_arm.items()}
        profiles.append(Profile(probe, name, x, y, values))
    return profiles


def draw_profile(ax: Axes, sweep: Sweep, profile: Profile, arms: Sequence[str]) -> None:
    """Draws a line per arm, the mean over seeds, and a band over their range.

    Args:
      ax: axes.
      sweep: the runs.
      profile: to draw; the profiles of a probe with the same titles share their axes.
      arms: names, in the order of the legend.
    """
    alike = [
        other
        for other in profiles_of(sweep)
        if (other.probe, other.x, other.y) == (profile.probe, profile.x, profile.y)
    ]
    for index, arm in enumerate(arms):
        if arm not in profile.values:
            continue
        positions, table = profile.values[arm]
        look = style(index)
        span = {"color": look["color"], "alpha": 0.2, "lw": 0}
        ax.fill_between(positions, table.min(0), table.max(0), **span)
        ax.plot(
            positions,
            table.mean(0),
            label=drawn(short_label(sweep, arm)),
            markersize=4,
            markevery=max(1, len(positions) // MOST_MARKED),
            **look,
        )
    ax.set_xlabel(wrapped_title(drawn(profile.x)))
    ax.set_ylabel(wrapped_title(drawn(profile.y), "y"))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.grid(axis="y")
    _share_axes(ax, alike)
    show_legend(ax, x_name(sweep))


def _table(seeds: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    values = [
        [np.nan if value is None else value for value in profile["values"]]
        for profile in seeds
    ]
    return np.array(seeds[0]["positions"]), np.array(values, float)


def _share_axes(ax: Axes, profiles: Sequence[Profile]) -> None:
    """Sets one scale for all panels of these profiles, so that they can be compared."""
    pairs = [pair for profile in profiles for pair in profile.values.values()]
    positions = np.concatenate([positions for positions, _ in pairs])
    first, last = positions.min(), positions.max()
    side = 0.04 * ((last - first) or 1)
    ax.set_xlim(first - side, last + side)
    values = np.concatenate([table.ravel() for _, table in pairs])
    values = values[np.isfinite(values)]
    if not len(values):
        return
    low, high = values.min(), values.max()
    if low > 0 and high > MOST_LINEAR * low and not profiles[0].y.endswith("(%)"):
        ax.set_yscale("log")
        plain_ticks(ax, "y", log_locator(low, high))
        ax.set_ylim(low / 1.3, 1.3 * high)
    else:
        pad = 0.05 * (high - min(low, 0.0) or 1.0)
        ax.set_ylim(min(low - pad, 0.0), high + pad)
