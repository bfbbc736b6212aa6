"""Run or resume an ablation, then judge its claims and write the report.

Example: ./launch.sh ablate --ablation=degradation --scale=laptop
"""

import contextlib

from absl import flags

from cnnjax import cli
from cnnjax.config import parse_changes

ABLATION = flags.DEFINE_string("ablation", "degradation", "One of configs/ablations/.")
SCALE = flags.DEFINE_string("scale", "laptop", "smoke, laptop or paper.")
SEEDS = flags.DEFINE_integer(
    "seeds", None, "Seeds per arm, in place of what the scale says.", lower_bound=1
)
WORKDIR = flags.DEFINE_string("workdir", "", "'' for runs/<ablation>/<scale>.")
DATA_DIR = flags.DEFINE_string("data_dir", "", "Folder of prepared data sets.")
SET = flags.DEFINE_multi_string(
    "set", [], "Config key for all arms, as --set=train.epochs=4; may be repeated."
)
JOBS = flags.DEFINE_integer(
    "jobs",
    0,
    "Arms at a time; 0 for one per core or accelerator (on one inline, one).",
    lower_bound=0,
)
LAUNCHER = flags.DEFINE_string(
    "launcher", "inline", "inline, local (a process per arm) or slurm (a job per arm)."
)
LAUNCHER_OPTIONS = flags.DEFINE_string(
    "launcher_options", "", "For slurm, as partition=gpu,time=4:00:00,gpus=1,cpus=8."
)
WAIT = flags.DEFINE_bool("wait", True, "With slurm: wait for the arms and report.")
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print cells, parameters, multiply-adds and cost; run nothing."
)
cli.define_parallel_flags()


def main() -> int:
    # Imported late: --help and wrong flags answer without waiting for jax.
    from cnnjax.ablation.launch import train_cells
    from cnnjax.ablation.plan import load_ablation, make_plan
    from cnnjax.ablation.report import write_report
    from cnnjax.ablation.run import print_plan
    from cnnjax.ablation.summary import print_summary
    from cnnjax.train.hosts import is_first, joined

    plan = make_plan(
        load_ablation(ABLATION.value),
        SCALE.value,
        num_seeds=SEEDS.value or 0,
        data_dir=DATA_DIR.value,
        workdir=WORKDIR.value,
        changes=parse_changes(SET.value) | cli.parallel_changes(),
    )
    if DRY_RUN.value:
        print_plan(plan)
        return 0
    # What a launcher starts are processes of their own.
    inline = LAUNCHER.value == "inline"
    with joined(**cli.processes()) if inline else contextlib.nullcontext():
        code = train_cells(
            plan,
            launcher=LAUNCHER.value,
            jobs=JOBS.value,
            launcher_options=LAUNCHER_OPTIONS.value,
            wait=WAIT.value,
        )
        if code == 0 and WAIT.value and is_first():
            print_summary(plan.workdir)
            print(f"report: {write_report(plan.workdir)[0]}")
    return code


if __name__ == "__main__":
    cli.run(main)
