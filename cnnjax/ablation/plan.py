"""From an ablation and a scale to resolved configs, on disk before anything runs."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cnnjax.ablation.define.axes import Arm, Scale
from cnnjax.ablation.define.spec import Ablation
from cnnjax.ablation.define.stored import spec_to_dict, to_plain
from cnnjax.ablation.seeds import planned_seeds, seed_groups, wanted_of
from cnnjax.config import differences, digest, load_recipe, override, to_dict
from cnnjax.definitions import definition, definition_path, named_definitions
from cnnjax.errors import UserError
from cnnjax.record_kinds import (
    CONFIG,
    FILES_OF_ABLATION,
    FILES_OF_RUN,
    FOLDERS_OF_ABLATION,
    FOLDERS_OF_RUN,
    PLAN,
    RESULT,
)
from cnnjax.records import (
    is_there,
    read_record,
    refuse_foreign,
    refuse_published,
    sift_record,
    write_json,
)
from cnnjax.start.chain import enough_seeds, parents_first, started_from, waits_for
from cnnjax.start.section import resolved

FOLDERS = ("configs", "ablations")  # of our definitions
ALL = "-all"  # behind the name of a folder of folds: what is trained on all of them


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is trained as one program: an arm with some of its seeds, on one fold.

    Args:
      name: the folder of its files below that of the ablation; the name of the arm,
        with more behind it where an arm has several cells.
      arm: the arm.
      config: resolved.
      after: names of the cells whose weights it starts from.
    """

    name: str
    arm: Arm
    config: ConfigDict
    after: tuple[str, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds trained at once."""
        first, count = self.config.seeds.first, self.config.seeds.count
        return tuple(range(first, first + count))

    @property
    def fold(self) -> int | None:
        """Of cross-validation, or None."""
        data = self.config.data
        return data.fold if data.num_folds and data.fold >= 0 else None


@dataclasses.dataclass(frozen=True)
class Plan:
    """All cells of an ablation at one scale.

    Args:
      ablation: the definition.
      scale: name of the scale.
      arms: the arms, in the order of the tables.
      cells: what is trained, in the order of the arms.
      workdir: where everything is written.
      sequential: whether results decide how many seeds there will be.
    """

    ablation: Ablation
    scale: str
    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    workdir: Path
    sequential: bool = False

    @property
    def seeds(self) -> list[int]:
        """The seeds that any arm has."""
        return sorted({seed for cell in self.cells for seed in cell.seeds})


def load_ablation(name: str) -> Ablation:
    """The definition of `configs/ablations/<name>.py`, or of any file.

    Args:
      name: of one of ours, or the path of a file, as `definition_path` takes it.

    Returns:
      The ablation; recipes given by path are sought beside the file.

    Raises:
      UserError: there is no such file, it is broken, or its ablation has another name.
    """
    path = definition_path(name, FOLDERS, "ablation", "--ablation")
    found = definition(path, "get_ablation", Ablation)
    if found.name != path.stem:
        raise UserError(
            f"{path} defines an ablation of another name, {found.name!r}: call both "
            "alike, for the folder of its runs is found by this name"
        )
    return dataclasses.replace(
        found, scales={key: _beside(path, scale) for key, scale in found.scales.items()}
    )


def _beside(path: Path, scale: Scale) -> Scale:
    """The scale with the whole path of a recipe that lies beside its definition."""
    recipe = path.absolute().parent / scale.recipe
    is_there = recipe.suffix == ".py" and recipe.is_file()
    return dataclasses.replace(scale, recipe=str(recipe)) if is_there else scale


def ablation_names() -> list[str]:
    """All of `configs/ablations/`, sorted."""
    return list(named_definitions(FOLDERS))


def make_plan(
    ablation: Ablation,
    scale: str,
    *,
    num_seeds: int | Mapping[str, int] | None,
    data_dir: str,
    workdir: str,
    changes: dict[str, Any],
    num_folds: int = 0,
    holds_out: bool = True,
    sequential: bool = False,
    published: Mapping[str, Any] | None = None,
) -> Plan:
    """Resolves the config of every cell.

    An ablation that was planned before keeps its cells; more seeds are cells of their
    own beside them.

    Args:
      ablation: the definition.
      scale: name of the scale.
      num_seeds: seeds per arm, for all or by name; None for what was planned before, or
        what the scale says.
      data_dir: folder of data sets; '' for what the recipe says.
      workdir: '' for runs/<ablation>/<scale>.
      changes: dotted config key -> value for all arms, from the command line.
      num_folds: of cross-validation; 0 for the splits of the recipe.
      holds_out: False for one training after cross-validation, on what all folds have,
        in a folder of its own beside that of the folds.
      sequential: whether results will decide how many seeds there are; once that is so,
        it stays so, and seeds that are added to those of an earlier plan count as that.
      published: the plan of a published report whose runs are to be taken; where the
        folder has no plan, its cells are kept like those of an earlier plan.

    Raises:
      UserError: an unknown scale or config key, one that the arms differ in, fewer
        seeds than were planned before, or a folder of another plan.
    """
    chosen = ablation.scale(scale)
    folder = Path(workdir or default_workdir(ablation, scale, num_folds))
    if not holds_out:
        folder = folder.with_name(f"{folder.name}{ALL}")
    arms = ablation.arms(scale)
    _refuse_questioned_keys(ablation, arms, changes)
    earlier = earlier_plan(folder)
    before = earlier or published or {"arms": []}
    known = planned_seeds(before)
    holder = "the published report" if before is published else str(folder)
    parents = {arm.name: arm.starts_from for arm in arms}
    totals = enough_seeds(
        parents,
        {
            arm.name: wanted_of(num_seeds, arm.name)
            or sum(known.get(arm.name, ()))
            or chosen.seeds
            for arm in arms
        },
    )
    cells: list[Cell] = []
    by_name = {arm.name: arm for arm in arms}
    for arm in (by_name[name] for name in parents_first(parents)):
        config = load_recipe(chosen.recipe, f"scale {scale!r} of {ablation.name}.py")
        override(config, {**arm.overrides, **changes})
        if data_dir:
            override(config, {"data.data_dir": data_dir})
        groups = seed_groups(
            known.get(arm.name, []), totals[arm.name], chosen.seeds, holder
        )
        for fold in range(num_folds) if num_folds and holds_out else (None,):
            for name, (first, count) in groups.items():
                own = {"seeds.first": config.seeds.first + first, "seeds.count": count}
                path = [arm.name, *([] if fold is None else [f"fold-{fold}"])]
                if num_folds:
                    none = -1 if fold is None else fold
                    own |= {"data.num_folds": num_folds, "data.fold": none}
                cell = config.copy_and_resolve_references()
                override(cell, own)
                after: tuple[str, ...] = ()
                if arm.starts_from:
                    seeds = range(own["seeds.first"], own["seeds.first"] + count)
                    if (one := config.start.seed) >= 0:  # the same for all
                        seeds = range(one, one + 1)
                    after = waits_for(arm.starts_from, fold, seeds, cells)
                    parent = next(c for c in cells if c.name == after[0])
                    there = "/".join([arm.starts_from, *path[1:]])
                    cell = started_from(cell, folder, there, parent.config)
                path += [name] if name else []
                cell = resolved(cell.lock())
                cells.append(Cell("/".join(path), arm, cell, after))
    places = {arm.name: i for i, arm in enumerate(arms)}
    cells.sort(key=lambda cell: places[cell.arm.name])  # stable: cells stay in order
    added = any("/seeds-" in cell.name for cell in cells)
    sequential = sequential or added or before.get("sequential", False)
    plan = Plan(ablation, scale, arms, tuple(cells), folder, sequential)
    if earlier is not None:
        _refuse_other_plan(plan, earlier)
    return plan


def default_workdir(ablation: Ablation, scale: str, num_folds: int) -> str:
    """Where an ablation lies that was given no folder."""
    folds = f"-{num_folds}-folds" if num_folds else ""
    return f"runs/{ablation.name}/{scale}{folds}"


def earlier_plan(folder: Path) -> dict[str, Any] | None:
    """The content of the `plan.json` in a folder; None if there is none.

    Raises:
      UserError: the folder is that of something else, or the plan cannot be read.
    """
    if is_there(folder / "config.json"):
        raise UserError(
            f"{folder} is the folder of a single training (config.json): give another "
            "--workdir"
        )
    refuse_published(folder)
    path = folder / "plan.json"
    return read_record(path, PLAN) if is_there(path) else None


def _refuse_other_plan(plan: Plan, earlier: Mapping[str, Any]) -> None:
    """Refuses a plan that is not the one of its folder, or more of it."""
    given = {"ablation": plan.ablation.name, "scale": plan.scale}
    for key, new in given.items():
        if (old := earlier.get(key, new)) != new:
            raise UserError(
                f"{plan.workdir} holds a plan of {key} {old!r}, not {new!r}: give "
                "another --workdir"
            )
    kept = {cell.name for cell in plan.cells}
    planned = [cell["name"] for arm in earlier["arms"] for cell in arm["cells"]]
    if lost := [name for name in planned if name not in kept]:
        raise UserError(
            f"{plan.workdir} holds {lost[0]}, which would no longer be planned there: "
            f"give the same --folds, put the arm back into {plan.ablation.name}.py, or "
            "give another --workdir"
        )


def _refuse_questioned_keys(
    ablation: Ablation, arms: tuple[Arm, ...], changes: dict[str, Any]
) -> None:
    """Refuses changes that would make different arms the same."""
    flags = {"seeds.count": "seeds", "data.num_folds": "folds", "data.fold": "folds"}
    for key in flags.keys() & changes.keys():
        raise UserError(f"--set={key} does nothing here: give --{flags[key]}")
    for axis in ablation.axes:
        own = {key for arm in arms for key in axis.values[arm.axes[axis.name]]}
        for key in own & changes.keys():
            raise UserError(
                f"--set={key} would undo axis {axis.name!r} of ablation "
                f"{ablation.name!r}, whose arms differ in it: leave it out, or change "
                f"the axis in {ablation.name}.py"
            )


def refuse_other_configs(plan: Plan) -> None:
    """Compares a plan with what its folder holds by now; writes nothing.

    Raises:
      UserError: the folder holds another plan, more cells than this one, other
        configs, or what is not of an ablation and would be replaced.
    """
    refuse_foreign(plan.workdir, "plan.json", FILES_OF_ABLATION, FOLDERS_OF_ABLATION)
    if (earlier := earlier_plan(plan.workdir)) is not None:
        _refuse_other_plan(plan, earlier)
    for cell in plan.cells:
        path = plan.workdir / cell.name / "config.json"
        folders = (*FOLDERS_OF_RUN, *(f"seed-{seed}" for seed in cell.seeds))
        refuse_foreign(path.parent, path.name, FILES_OF_RUN, folders)
        new = to_dict(cell.config)
        if not is_there(path):
            continue
        if changed := differences(read_record(path, CONFIG), new):
            raise UserError(
                f"{plan.workdir} holds arm {cell.name} with another config "
                f"({'; '.join(changed)}): give the same options, or another --workdir"
            )


def write_plan(plan: Plan, facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes `plan.json`, and `config.json` of every cell that is not done.

    How a run was executed may differ from what is planned now: its own config stays.

    Args:
      plan: the plan.
      facts: cell -> 'num_params', 'multiply_adds', 'epochs', 'steps'.

    Raises:
      UserError: the folder holds the same ablation with other configs, or cannot be
        written.
    """
    refuse_other_configs(plan)
    for cell in plan.cells:
        if not has_ended(plan.workdir / cell.name, cell.seeds):
            write_json(plan.workdir / cell.name / "config.json", to_dict(cell.config))
    path = plan.workdir / "plan.json"
    write_json(
        path,
        {
            "ablation": plan.ablation.name,
            "scale": plan.scale,
            "recipe": plan.ablation.scale(plan.scale).recipe,
            "created": _created(path),
            "seeds": plan.seeds,
            "sequential": plan.sequential,
            "arms": [_describe(plan, arm, facts) for arm in plan.arms],
            "spec": spec_to_dict(plan.ablation, plan.scale),
        },
    )


def has_ended(folder: Path, seeds: Sequence[int]) -> bool:
    """Whether a cell has its config, and a result of every seed that is no crash."""
    paths = [folder / f"seed-{seed}" / "result.json" for seed in seeds]
    found = [sift_record(path, RESULT)[0] for path in paths]
    ended = all(result and not result.get("crashed") for result in found)
    return ended and is_there(folder / "config.json")


def _describe(
    plan: Plan, arm: Arm, facts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """An arm as `plan.json` has it; its facts are those of its first cell."""
    cells = [cell for cell in plan.cells if cell.arm.name == arm.name]
    return {
        "name": arm.name,
        "axes": dict(arm.axes),
        "overrides": to_plain(arm.overrides),
        **({"starts_from": arm.starts_from} if arm.starts_from else {}),
        **facts[cells[0].name],
        "cells": [
            {
                "name": cell.name,
                "seeds": list(cell.seeds),
                "fold": cell.fold,
                "config_hash": digest(cell.config),
                "data_hash": digest({"data": cell.config.data}),
            }
            for cell in cells
        ],
    }


def _created(path: Path) -> str:
    """When the ablation was first planned there: a resumed one keeps its date."""
    if is_there(path) and (created := read_record(path, PLAN).get("created")):
        return created
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
