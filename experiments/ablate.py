"""Run or resume an ablation, then judge its claims and write the report.

Example: ./launch.sh ablate --ablation=degradation --scale=laptop
"""

import contextlib
import functools

from absl import flags

from cnnjax import cli
from cnnjax.config import parse_changes
from cnnjax.errors import UserError
from cnnjax.records import is_writer

ABLATION = flags.DEFINE_string("ablation", "degradation", "A name, or path of a file.")
SCALE = flags.DEFINE_string("scale", "laptop", "smoke, quick, laptop or paper.")
SEEDS = flags.DEFINE_string("seeds", "", "Per arm; auto adds seeds while they help.")
MAX_SEEDS = flags.DEFINE_integer(
    "max_seeds", 50, "With --seeds=auto: most seeds per arm.", lower_bound=1
)
MINUTES = flags.DEFINE_float(
    "budget_minutes", 0.0, "With --seeds=auto: 0 for no limit.", lower_bound=0.0
)
WORKDIR = flags.DEFINE_string("workdir", "", "Of runs [runs/<ablation>/<scale>].")
RESUME_FROM = flags.DEFINE_string("resume_from", "", "Take runs of a records.jsonl.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print cost and seeds needed only.")
cli.define_fold_flags()
cli.define_launch_flags()
cli.define_parallel_flags()


def main() -> int:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.ablation.execute.adaptive import AUTO, Budget, parse_seeds, train_seeds
    from cnnjax.ablation.execute.dispatch import train_cells
    from cnnjax.ablation.execute.dry_run import print_plan
    from cnnjax.ablation.execute.next_scale import print_next
    from cnnjax.ablation.judge.published import read_published
    from cnnjax.ablation.plan import load_ablation, make_plan
    from cnnjax.ablation.report.pages import write_report
    from cnnjax.ablation.report.terminal import print_summary
    from cnnjax.devices.distributed import joined

    if SEEDS.value != AUTO and (MAX_SEEDS.present or MINUTES.present):
        raise UserError(f"--max_seeds and --budget_minutes are for --seeds={AUTO}")
    num_folds, then_all = cli.folds()
    taken = read_published(RESUME_FROM.value) if RESUME_FROM.value else None
    make = functools.partial(
        make_plan,
        load_ablation(ABLATION.value),
        SCALE.value,
        num_folds=num_folds,
        data_dir=flags.FLAGS.data_dir,
        workdir=WORKDIR.value,
        changes=parse_changes(flags.FLAGS.set) | cli.parallel_changes(),
        published=taken and taken.plan,
    )
    if DRY_RUN.value:
        most = MAX_SEEDS.value if SEEDS.value == AUTO else 0
        print_plan(make(num_seeds=parse_seeds(SEEDS.value)), taken, most)
        return 0
    launching = cli.launching()
    train = functools.partial(train_cells, **launching, published=taken)
    inline = launching["launcher"] == "inline"  # others start processes of their own
    budget = Budget(MAX_SEEDS.value, MINUTES.value)
    with joined(**cli.processes()) if inline else contextlib.nullcontext():
        for held_out in (True, False) if then_all else (True,):
            of = functools.partial(make, holds_out=held_out)
            code, plan = train_seeds(of, train, SEEDS.value, budget)
            if code in (0, 1) and launching["wait"] and is_writer():
                print_summary(plan.workdir)
                print_next(plan, ABLATION.value, write_report(plan.workdir)[0])
            if code:
                break
    return code


if __name__ == "__main__":
    cli.run(main)
