"""From an ablation and a scale to resolved configs, on disk before anything runs."""

import dataclasses
import datetime
import importlib.util
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cnnjax.ablation.spec import Ablation, Arm, spec_to_dict
from cnnjax.config import (
    definition,
    differences,
    digest,
    load_recipe,
    override,
    to_dict,
)
from cnnjax.errors import UserError, unknown_name
from cnnjax.records import read_json, write_json


@dataclasses.dataclass(frozen=True)
class Plan:
    """All cells of an ablation at one scale.

    Args:
      ablation: the definition.
      scale: name of the scale.
      seeds: seeds of every arm, paired across arms.
      arms: the arms, in the order of the tables.
      configs: arm name -> resolved config.
      workdir: where everything is written.
    """

    ablation: Ablation
    scale: str
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    configs: dict[str, ConfigDict]
    workdir: Path


def load_ablation(name: str) -> Ablation:
    """The definition in `configs/ablations/<name>.py`.

    Raises:
      UserError: there is none of that name, or its file is broken.
    """
    folders = importlib.util.find_spec("configs").submodule_search_locations
    folder = Path(next(iter(folders))) / "ablations"
    names = sorted(path.stem for path in folder.glob("[!_]*.py"))
    if name not in names:
        raise unknown_name("ablation", name, names, "--ablation")
    return definition(folder / f"{name}.py", "get_ablation", Ablation)


def make_plan(
    ablation: Ablation,
    scale: str,
    *,
    num_seeds: int | None,
    data_dir: str,
    workdir: str,
    changes: dict[str, Any],
) -> Plan:
    """Resolves the config of every arm.

    Args:
      ablation: the definition.
      scale: name of the scale.
      num_seeds: seeds per arm; None for what the scale says.
      data_dir: folder of data sets; '' for what the recipe says.
      workdir: '' for runs/<ablation>/<scale>.
      changes: dotted config key -> value for all arms, from the command line.

    Raises:
      UserError: an unknown scale or config key, or one that the arms differ in.
    """
    chosen = ablation.scale(scale)
    count = num_seeds or chosen.num_seeds
    arms, configs = ablation.arms(scale), {}
    _refuse_questioned_keys(ablation, arms, changes)
    for arm in arms:
        config = load_recipe(chosen.recipe)
        override(config, {**arm.overrides, **changes})
        override(config, {"seeds.count": count})
        if data_dir:
            override(config, {"data.data_dir": data_dir})
        configs[arm.name] = config.lock()
    first = next(iter(configs.values())).seeds.first
    return Plan(
        ablation,
        scale,
        tuple(range(first, first + count)),
        arms,
        configs,
        Path(workdir or f"runs/{ablation.name}/{scale}"),
    )


def _refuse_questioned_keys(
    ablation: Ablation, arms: tuple[Arm, ...], changes: dict[str, Any]
) -> None:
    """Refuses changes that would make different arms the same."""
    if "seeds.count" in changes:
        raise UserError("--set=seeds.count does nothing here: give --seeds")
    for axis in ablation.axes:
        own = {key for arm in arms for key in axis.values[arm.axes[axis.name]]}
        for key in own & changes.keys():
            raise UserError(
                f"--set={key} would undo axis {axis.name!r} of ablation "
                f"{ablation.name!r}, whose arms differ in it: leave it out, or change "
                f"the axis in configs/ablations/{ablation.name}.py"
            )


def write_plan(plan: Plan, facts: dict[str, dict[str, Any]]) -> None:
    """Writes `plan.json` and every arm's `config.json`.

    Args:
      plan: the plan.
      facts: arm name -> 'num_params', 'multiply_adds', 'epochs', 'steps'.

    Raises:
      UserError: the folder holds the same ablation with other configs, or cannot be
        written.
    """
    for arm in plan.arms:
        path = plan.workdir / arm.name / "config.json"
        new = to_dict(plan.configs[arm.name])
        changed = differences(read_json(path), new) if path.is_file() else []
        if changed:
            raise UserError(
                f"{plan.workdir} holds arm {arm.name} with another config "
                f"({'; '.join(changed)}): give the same options, or another --workdir"
            )
        write_json(path, new)
    write_json(
        plan.workdir / "plan.json",
        {
            "ablation": plan.ablation.name,
            "scale": plan.scale,
            "recipe": plan.ablation.scale(plan.scale).recipe,
            "created": _created(plan.workdir / "plan.json"),
            "seeds": list(plan.seeds),
            "arms": [
                {
                    "name": arm.name,
                    "axes": dict(arm.axes),
                    "overrides": dict(arm.overrides),
                    "config_hash": digest(plan.configs[arm.name]),
                    **facts[arm.name],
                }
                for arm in plan.arms
            ],
            "spec": spec_to_dict(plan.ablation, plan.scale),
        },
    )


def _created(path: Path) -> str:
    """When the ablation was first planned there: a resumed one keeps its date."""
    if path.is_file():
        return read_json(path)["created"]
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
