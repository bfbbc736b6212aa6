"""Sanity checks of a config before it is trained, in about a minute.

Example: ./launch.sh check --config=configs/resnet_digits.py
"""

from absl import flags
from ml_collections import config_flags

from cnnjax import cli
from cnnjax.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Recipe: a name from configs/ or a path; followed by --config.KEY=VALUE.",
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "Folder of prepared data sets; short for --config.data.data_dir."
)
SECONDS = flags.DEFINE_float(
    "seconds", 60.0, "After this no further check starts.", lower_bound=0.0
)


def main() -> int:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.studies.programs import check_config

    config = CONFIG.value
    if config is None:
        raise UserError("--config is missing: give a recipe of configs/, or a path")
    if DATA_DIR.value:
        config.data.data_dir = DATA_DIR.value
    return check_config(config, SECONDS.value)


if __name__ == "__main__":
    cli.run(main)
