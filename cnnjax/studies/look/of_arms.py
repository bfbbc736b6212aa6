"""`report --views`: the page of views of each arm of an ablation."""

from collections.abc import Callable
from pathlib import Path

from cnnjax.errors import UserError, printable
from cnnjax.record_kinds import PLAN
from cnnjax.records import is_there, read_record, refuse_published
from cnnjax.studies.look.program import check_views
from cnnjax.studies.look.start import Asked, show_inside

ALL = "all"
MOST = 1000  # images that a net is looked at with
GRID = 11  # points of a landscape, as `look` has by default


def look_at_arms(
    workdir: Path, views: list[str], say: Callable[[str], None], data_dir: str = ""
) -> None:
    """Draws views of the first seed of each cell, for `write_report` to link.

    Args:
      workdir: folder of an ablation.
      views: of `look`; 'all' for all of them.
      say: is told of cells that cannot be looked at.
      data_dir: '' for that of the configs.

    Raises:
      UserError: no ablation is there, or no such view.
    """
    names = check_views([] if views == [ALL] else views)
    refuse_published(workdir)
    if not is_there(workdir / "plan.json"):
        raise UserError(
            f"--views draws the arms of an ablation, and {printable(workdir)} holds "
            "none (no plan.json): give --workdir of one, or use look for a run"
        )
    plan = read_record(workdir / "plan.json", PLAN)
    for cell in (cell["name"] for arm in plan["arms"] for cell in arm["cells"]):
        say(f"looking at {cell}")
        try:
            show_inside(_asked(workdir / cell, names, data_dir))
        except UserError as error:  # the others can still be looked at
            say(f"{cell}  not looked at: {error}")


def _asked(folder: Path, views: list[str], data_dir: str) -> Asked:
    return Asked(
        workdirs=[str(folder)],
        model="",
        weights=[],
        source="",
        seeds=[],
        views=views,
        layer="",
        image=0,
        split="test",
        data="",
        images="",
        data_dir=data_dir,
        mean=[],
        std=[],
        most=MOST,
        grid=GRID,
        out="",
    )
