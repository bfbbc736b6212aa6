"""Show the progress of a run or an ablation, whichever machines it runs on.

Example: ./launch.sh status --workdir=runs/degradation/laptop
"""

import pathlib

from absl import flags

from cnnjax import cli
from cnnjax.ablation.execute.status import read_cells, table
from cnnjax.errors import UserError
from cnnjax.screen import show

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of a run or an ablation.")


def main() -> None:
    if not WORKDIR.value:
        raise UserError("--workdir is missing: give the folder of a run or an ablation")
    show(table(read_cells(pathlib.Path(WORKDIR.value))))


if __name__ == "__main__":
    cli.run(main, only_prints=True)
