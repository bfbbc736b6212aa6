"""Judge the claims and write the report of an ablation again, from its files alone.

Example: ./launch.sh report --workdir=runs/degradation/laptop
"""

import pathlib

from absl import flags

from cnnjax import cli
from cnnjax.ablation.report import write_report
from cnnjax.ablation.summary import print_summary
from cnnjax.errors import UserError

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of an ablation (with plan.json).")


def main() -> None:
    if not WORKDIR.value:
        raise UserError("--workdir is missing: give the folder of an ablation")
    workdir = pathlib.Path(WORKDIR.value)
    print_summary(workdir)
    print(f"report: {write_report(workdir)[0]}")


if __name__ == "__main__":
    cli.run(main)
