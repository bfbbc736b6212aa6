"""Learning-rate range test of a config: loss while the rate rises, and a suggestion.

Example: ./launch.sh find_lr --config=configs/resnet_digits.py --seeds=3
"""

import pathlib

from absl import flags

from cnnjax import cli
from cnnjax.config import override
from cnnjax.recipes.flags import define_recipe_flags, given_recipe

define_recipe_flags()
WORKDIR = flags.DEFINE_string(
    "workdir", "", "Folder of curve and figure; '' for its own in runs/find_lr."
)
SEEDS = flags.DEFINE_integer("seeds", 3, "Number of seeds.", lower_bound=1)
STEPS = flags.DEFINE_integer("steps", 200, "Steps from the lowest to the highest rate.")
LOWEST = flags.DEFINE_float("lowest", 1e-4, "First learning rate.")
HIGHEST = flags.DEFINE_float("highest", 10.0, "Last learning rate.")


def main() -> int:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.studies.programs import find_rate

    config, recipe = given_recipe()
    override(config, {"seeds.count": SEEDS.value})
    return find_rate(
        config,
        pathlib.Path(WORKDIR.value) if WORKDIR.value else None,
        recipe,
        lowest=LOWEST.value,
        highest=HIGHEST.value,
        steps=STEPS.value,
    )


if __name__ == "__main__":
    cli.run(main)
