"""A sheet of training images: each augmentation alone, and all of a config together.

Example: ./launch.sh augment --config=configs/resnet_cifar10.py --data_dir=data
"""

import pathlib

from absl import flags

from cnnjax import cli
from cnnjax.config import digest
from cnnjax.recipes.flags import define_recipe_flags, given_recipe

define_recipe_flags()
WORKDIR = flags.DEFINE_string(
    "workdir", "", "Folder of the sheet; '' for runs/augment/<recipe>-<hash>."
)
IMAGES = flags.DEFINE_integer("images", 8, "Training images that are shown.")
DRAWS = flags.DEFINE_integer("draws", 2, "Draws of each operation.")


def main() -> int:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.studies.programs import show_augmentation

    config, recipe = given_recipe()
    workdir = WORKDIR.value or f"runs/augment/{recipe}-{digest(config)}"
    return show_augmentation(
        config, pathlib.Path(workdir), recipe, IMAGES.value, DRAWS.value
    )


if __name__ == "__main__":
    cli.run(main)
