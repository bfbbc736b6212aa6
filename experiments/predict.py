"""Predict a split with trained nets: ensembles, confusion of classes, calibration.

Example: ./launch.sh predict --workdir=runs/degradation/laptop/residual-20 --flip
         ./launch.sh predict --workdir=runs/a,runs/b --split=validation --top=2
"""

import pathlib

from absl import flags

from cnnjax import cli

WORKDIR = flags.DEFINE_list("workdir", [], "Folders of runs, or of arms.")
WEIGHTS = flags.DEFINE_string("weights", "last", "last, best, ema or initial.")
SPLIT = flags.DEFINE_string("split", "test", "train, validation or test.")
TOP = flags.DEFINE_multi_integer("top", [], "Guesses that count; may be repeated.")
DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "Folder of prepared data sets, if it has moved."
)
OUT = flags.DEFINE_string(
    "out", "", "Folder of tables and figures; '' for its own in the first run."
)
cli.define_view_flags()


def main() -> int:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.studies.programs import show_predictions

    return show_predictions(
        WORKDIR.value,
        split=SPLIT.value,
        weights=WEIGHTS.value,
        tops=TOP.value,
        views=cli.views(),
        data_dir=DATA_DIR.value,
        out=pathlib.Path(OUT.value) if OUT.value else None,
    )


if __name__ == "__main__":
    cli.run(main)
