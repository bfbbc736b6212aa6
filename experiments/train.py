"""Train one config: one net, one data set, one or more seeds.

Example: ./launch.sh train --config=configs/resnet_digits.py --config.model.depth=20
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from cnnjax import cli
from cnnjax.config import digest, keep_one_budget, override
from cnnjax.errors import UserError
from cnnjax.start.section import resolved

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Recipe: a name from configs/ or a path; followed by --config.KEY=VALUE.",
)
WORKDIR = flags.DEFINE_string(
    "workdir", "", "Folder of the run; '' for runs/train/<recipe>-<hash of the config>."
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "Folder of prepared data sets; short for --config.data.data_dir."
)
SEEDS = flags.DEFINE_integer(
    "seeds", None, "Number of seeds; short for --config.seeds.count.", lower_bound=1
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Compile, print layout and memory per device; train nothing."
)
cli.define_fold_flags()
cli.define_parallel_flags()


def main() -> int:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.devices.distributed import joined
    from cnnjax.run.single import print_dry_run, train
    from cnnjax.studies.folds import train_folds

    config = CONFIG.value
    if config is None:
        raise UserError("--config is missing: give a recipe of configs/, or a path")
    keep_one_budget(config, config_flags.get_override_values(flags.FLAGS["config"]))
    if DATA_DIR.value:
        config.data.data_dir = DATA_DIR.value
    if SEEDS.value:
        config.seeds.count = SEEDS.value
    override(config, cli.parallel_changes())
    config = resolved(config)
    recipe = pathlib.Path(flags.FLAGS["config"].config_filename).stem
    num_folds, then_all = cli.folds()
    name = f"{recipe}-{digest(config)}" + (f"-{num_folds}-folds" if num_folds else "")
    workdir = pathlib.Path(WORKDIR.value or f"runs/train/{name}")
    with joined(**cli.processes()):
        if DRY_RUN.value:
            return print_dry_run(config)
        if num_folds:
            return train_folds(config, workdir, recipe, num_folds, then_all)
        return train(config, workdir, recipe)


if __name__ == "__main__":
    cli.run(main)
