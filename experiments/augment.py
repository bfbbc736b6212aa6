"""A sheet of training images: each augmentation alone, and all of a config together.

Example: ./launch.sh augment --config=configs/resnet_cifar10.py --data_dir=data
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from cnnjax import cli
from cnnjax.config import digest
from cnnjax.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Recipe: a name from configs/ or a path; followed by --config.KEY=VALUE.",
)
WORKDIR = flags.DEFINE_string(
    "workdir", "", "Folder of the sheet; '' for runs/augment/<recipe>-<hash>."
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "Folder of prepared data sets; short for --config.data.data_dir."
)
IMAGES = flags.DEFINE_integer("images", 8, "Training images that are shown.")
DRAWS = flags.DEFINE_integer("draws", 2, "Draws of each operation.")


def main() -> int:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.studies.programs import show_augmentation

    config = CONFIG.value
    if config is None:
        raise UserError("--config is missing: give a recipe of configs/, or a path")
    if DATA_DIR.value:
        config.data.data_dir = DATA_DIR.value
    recipe = pathlib.Path(flags.FLAGS["config"].config_filename).stem
    workdir = WORKDIR.value or f"runs/augment/{recipe}-{digest(config)}"
    return show_augmentation(
        config, pathlib.Path(workdir), recipe, IMAGES.value, DRAWS.value
    )


if __name__ == "__main__":
    cli.run(main)
