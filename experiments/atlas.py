"""Run or resume all ablations, one after another, with reports and an overview.

Example: ./launch.sh atlas --scale=laptop
"""

import os
import pathlib
import sys

from absl import flags

from cnnjax import cli
from cnnjax.config import parse_changes
from cnnjax.process import absolute_entries
from cnnjax.screen import say

SCALE = flags.DEFINE_string("scale", "laptop", "smoke, laptop or paper.")
ONLY = flags.DEFINE_string(
    "only", "", "Names from configs/ablations/, as a,b; '' for all."
)
WORKDIR = flags.DEFINE_string(
    "workdir", "runs", "Folder of all runs: <workdir>/<ablation>/<scale>."
)
SEEDS = flags.DEFINE_string("seeds", "", "As for ablate.")
REPORT_ONLY = flags.DEFINE_bool(
    "report_only", False, "Train nothing; write all reports and the overview again."
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print one line per ablation; train nothing."
)
cli.define_launch_flags()

ROOT = pathlib.Path(__file__).parent.parent
FORWARDED = ("seeds", "data_dir", "jobs", "launcher", "launcher_options", "wait")


def command(name: str) -> list[str]:
    """The command that runs one ablation, with the flags of this program."""
    words = [sys.executable, "-P", "-m", "experiments.ablate", f"--ablation={name}"]
    words += [f"--scale={SCALE.value}", f"--workdir={workdir(name)}"]
    words += [f"--{flag}={flags.FLAGS[flag].value}" for flag in FORWARDED]
    return words + [f"--set={change}" for change in flags.FLAGS.set]


def workdir(name: str) -> pathlib.Path:
    """The folder of one ablation."""
    return pathlib.Path(WORKDIR.value) / name / SCALE.value


def main() -> int:
    from cnnjax.ablation import atlas

    names, root = atlas.chosen_names(ONLY.value), pathlib.Path(WORKDIR.value)
    atlas.check_scale(names, SCALE.value)
    if DRY_RUN.value:
        from cnnjax.ablation.execute.adaptive import parse_seeds
        from cnnjax.ablation.execute.dry_run import print_atlas

        return print_atlas(
            names,
            root,
            SCALE.value,
            num_seeds=parse_seeds(SEEDS.value),
            data_dir=flags.FLAGS.data_dir,
            changes=parse_changes(flags.FLAGS.set),
        )
    code = 0
    if not REPORT_ONLY.value:
        path = absolute_entries(os.environ.get("PYTHONPATH", ""))
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *path])
        code = atlas.run_atlas(names, root, SCALE.value, command)
    page = atlas.write_overview(root, SCALE.value, reports=REPORT_ONLY.value)
    say(f"overview: {page}")
    return code


if __name__ == "__main__":
    cli.run(main)
