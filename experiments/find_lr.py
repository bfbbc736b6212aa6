"""Learning-rate range test of a config: loss while the rate rises, and a suggestion.

Example: ./launch.sh find_lr --config=configs/resnet_digits.py --seeds=3
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from cnnjax import cli
from cnnjax.config import override
from cnnjax.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Recipe: a name from configs/ or a path; followed by --config.KEY=VALUE.",
)
WORKDIR = flags.DEFINE_string(
    "workdir", "", "Folder of curve and figure; '' for its own in runs/find_lr."
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "Folder of prepared data sets; short for --config.data.data_dir."
)
SEEDS = flags.DEFINE_integer("seeds", 3, "Number of seeds.", lower_bound=1)
STEPS = flags.DEFINE_integer("steps", 200, "Steps from the lowest to the highest rate.")
LOWEST = flags.DEFINE_float("lowest", 1e-4, "First learning rate.")
HIGHEST = flags.DEFINE_float("highest", 10.0, "Last learning rate.")


def main() -> int:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.studies.programs import find_rate

    config = CONFIG.value
    if config is None:
        raise UserError("--config is missing: give a recipe of configs/, or a path")
    if DATA_DIR.value:
        config.data.data_dir = DATA_DIR.value
    override(config, {"seeds.count": SEEDS.value})
    recipe = pathlib.Path(flags.FLAGS["config"].config_filename).stem
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
