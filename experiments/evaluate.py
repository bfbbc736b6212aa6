"""Evaluate the newest checkpoint of a run on all of its splits.

Example: ./launch.sh evaluate --workdir=runs/degradation/laptop/residual-20
"""

import pathlib

from absl import flags

from cnnjax import cli
from cnnjax.errors import UserError

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of a run, or of an arm.")
WEIGHTS = flags.DEFINE_string(
    "weights", "last", "last, best (on validation) or ema (moving average)."
)
STATISTICS = flags.DEFINE_string(
    "statistics", "", "running, precise, batch, or '' for the value of the config."
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "Folder of prepared data sets, if it has moved."
)
cli.define_view_flags()


def main() -> int:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.run.single import evaluate

    if not WORKDIR.value:
        raise UserError("--workdir is missing: give the folder of a run")
    return evaluate(
        pathlib.Path(WORKDIR.value),
        weights=WEIGHTS.value,
        statistics=STATISTICS.value,
        data_dir=DATA_DIR.value,
        views=cli.views(),
    )


if __name__ == "__main__":
    cli.run(main, only_prints=True)
