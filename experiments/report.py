"""Write the report of a run or an ablation, from its files alone.

Example: ./launch.sh report --workdir=runs/degradation/laptop
"""

import pathlib

from absl import flags

from cnnjax import cli
from cnnjax.ablation.report.pages import write_report
from cnnjax.ablation.report.terminal import print_summary
from cnnjax.ablation.report.training import (
    is_training,
    print_training,
    write_training_report,
)
from cnnjax.errors import UserError, printable
from cnnjax.screen import say

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of a run or an ablation.")


def main() -> None:
    if not WORKDIR.value:
        raise UserError("--workdir is missing: give the folder of a run or an ablation")
    workdir = pathlib.Path(WORKDIR.value)
    if is_training(workdir):
        print_training(workdir)
        page, *_ = write_training_report(workdir)
    else:
        print_summary(workdir)
        page, *_ = write_report(workdir)
    say(f"report: {printable(page)}")


if __name__ == "__main__":
    cli.run(main)
