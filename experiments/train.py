"""Train one config: one net, one data set, one or more seeds.

Example: ./launch.sh train --config=configs/resnet_digits.py --config.model.depth=20
         ./launch.sh train --model=vgg16_bn_cifar --dataset=cifar10 --data_dir=data
"""

import pathlib

from absl import flags

from cnnjax import cli
from cnnjax.config import digest, override
from cnnjax.recipes.flags import define_recipe_flags, given_recipe
from cnnjax.start.section import resolved

define_recipe_flags()
WORKDIR = flags.DEFINE_string(
    "workdir", "", "Folder of the run; '' for runs/train/<recipe>-<hash of the config>."
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

    config, recipe = given_recipe()
    if SEEDS.value:
        config.seeds.count = SEEDS.value
    override(config, cli.parallel_changes())
    config = resolved(config)
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
