"""Rank training images by nets that never saw them: wrong labels, odd images.

Example: ./launch.sh outliers --workdir=runs/folds

after `./launch.sh train --config=RECIPE --folds=5 --workdir=runs/folds`, or with an arm
of `ablate --folds=5`. How many wrong labels are found where they are known:
train with --config.data.label_noise=0.05, for instance convnet_few_cifar10 with
--config.data.num_train=20000 --config.train.epochs=6.
"""

import pathlib

from absl import flags

from cnnjax import cli
from cnnjax.errors import UserError

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of `train --folds=K`, or an arm.")
WEIGHTS = flags.DEFINE_string("weights", "last", "last, best, ema or initial.")
WORST = flags.DEFINE_integer(
    "worst", 0, "Images of exclude.txt; 0 for those whose label is likely wrong."
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "Folder of prepared data sets, if it has moved."
)
OUT = flags.DEFINE_string(
    "out", "", "Folder of table and sheet; '' for `outliers` in the run."
)


def main() -> int:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.studies.outlier_program import show_outliers

    if not WORKDIR.value:
        raise UserError("--workdir is missing: give the folder of an arm with folds")
    return show_outliers(
        pathlib.Path(WORKDIR.value),
        weights=WEIGHTS.value,
        worst=WORST.value,
        data_dir=DATA_DIR.value,
        out=pathlib.Path(OUT.value) if OUT.value else None,
    )


if __name__ == "__main__":
    cli.run(main)
