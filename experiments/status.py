"""Show how far an ablation or a training is, on whatever machines it runs.

Example: ./launch.sh status --workdir=runs/degradation/laptop
"""

import pathlib

from absl import flags

from cnnjax import cli
from cnnjax.ablation.execute.status import read_cells, table
from cnnjax.errors import UserError
from cnnjax.screen import show

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of an ablation or a training.")


def main() -> None:
    if not WORKDIR.value:
        raise UserError(
            "--workdir is missing: give the folder of an ablation or a training"
        )
    show(table(read_cells(pathlib.Path(WORKDIR.value))))


if __name__ == "__main__":
    cli.run(main)
