"""Sanity checks of a config before it is trained, in about a minute.

Example: ./launch.sh check --config=configs/resnet_digits.py
"""

from absl import flags

from cnnjax import cli
from cnnjax.recipes.flags import define_recipe_flags, given_recipe

define_recipe_flags()
SECONDS = flags.DEFINE_float(
    "seconds", 60.0, "After this no further check starts.", lower_bound=0.0
)


def main() -> int:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.studies.programs import check_config

    config = given_recipe().config
    return check_config(config, SECONDS.value)


if __name__ == "__main__":
    cli.run(main)
