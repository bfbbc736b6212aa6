"""Write the report of a run or an ablation, from its files or its published records.

Example: ./launch.sh report --workdir=runs/degradation/laptop
         ./launch.sh report --from=REPORT (a folder with the records.jsonl of publish)
         ./launch.sh report --workdir=runs/degradation/laptop --verify=all
         ./launch.sh report --workdir=runs/degradation/laptop --views=landscape,space
"""

import pathlib

from absl import flags

from cnnjax import cli
from cnnjax.ablation.report.pages import write_report
from cnnjax.ablation.report.redrawing import write_report_from
from cnnjax.ablation.report.terminal import print_summary
from cnnjax.ablation.report.training import (
    is_training,
    print_training,
    write_training_report,
)
from cnnjax.errors import UserError, printable
from cnnjax.screen import say

WORKDIR = flags.DEFINE_string(
    "workdir",
    "",
    "Folder of a run or an ablation; with --from, where the report is written "
    "[runs/published/<name>].",
)
FROM = flags.DEFINE_string(
    "from", "", "Folder of a published report; its records.jsonl is judged again."
)
VERIFY = flags.DEFINE_string(
    "verify",
    "",
    "Evaluate the kept weights of so many runs, or of all, again; the page says what "
    "came out.",
)
VIEWS = flags.DEFINE_list(
    "views", [], "Look inside each arm (see look), and link the pages; 'all' for all."
)
DATA_DIR = flags.DEFINE_string(
    "data_dir",
    "",
    "With --verify or --views: folder of prepared data sets, if it has moved.",
)


def main() -> int:
    if not WORKDIR.value and not FROM.value:
        raise UserError("--workdir is missing: give the folder of a run or an ablation")
    workdir, code = pathlib.Path(WORKDIR.value), 0
    for flag in ("verify", "views"):
        if FROM.value and flags.FLAGS[flag].value:
            raise UserError(f"--{flag} needs weights, which a published report has not")
    if VERIFY.value:
        # Imported late: reports need no jax.
        from cnnjax.ablation.execute.verify import verify

        code = verify(workdir, VERIFY.value, say, DATA_DIR.value)
    if VIEWS.value:
        from cnnjax.studies.look.of_arms import look_at_arms

        look_at_arms(workdir, VIEWS.value, say, DATA_DIR.value)
    if FROM.value:
        folder = pathlib.Path(FROM.value)
        page = write_report_from(folder, workdir if WORKDIR.value else None)
    elif is_training(workdir):
        print_training(workdir)
        page, *_ = write_training_report(workdir)
    else:
        print_summary(workdir)
        page, *_ = write_report(workdir)
    say(f"report: {printable(page)}")
    return code


if __name__ == "__main__":
    cli.run(main)
