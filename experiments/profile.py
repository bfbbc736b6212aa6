"""Show memory, parameters and operations of a net, layer by layer.

Example: ./launch.sh profile --model=alexnet --input_size=227
"""

import pathlib
import sys

from absl import flags

from cnnjax import cli
from cnnjax.analysis.formats import check_format
from cnnjax.config import parse_changes
from cnnjax.errors import UserError

MODEL = flags.DEFINE_string("model", "", "A name listed by ./launch.sh models.")
INPUT_SIZE = flags.DEFINE_integer(
    "input_size",
    0,
    "Height and width in pixels; 0 for the published size.",
    lower_bound=0,
)
NUM_CLASSES = flags.DEFINE_integer("num_classes", None, "Width of the last layer.")
NORM = flags.DEFINE_string("norm", None, "Kind of normalization; default: published.")
SET = flags.DEFINE_multi_string(
    "set", [], "Argument of the net, as --set=widths=(8,16); may be repeated."
)
FORMAT = flags.DEFINE_string("format", "text", "text, json, csv or md.")
COMPARE = flags.DEFINE_string(
    "compare", "", "Names or patterns: plot multiply-adds against accuracy instead."
)
OUT = flags.DEFINE_string("out", "runs/profile", "Folder of the plot of --compare.")


def main() -> None:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.analysis.compare import draw_comparison, render_comparison
    from cnnjax.analysis.listing import find_models
    from cnnjax.analysis.profile import profile_model
    from cnnjax.analysis.profile_table import render_profile
    from cnnjax.models.registry import create_model, variant
    from cnnjax.studies.own_folder import own_folder

    check_format(FORMAT.value)
    if COMPARE.value:
        if any(flag.value for flag in (MODEL, INPUT_SIZE, NUM_CLASSES, NORM, SET)):
            raise UserError(
                "--compare plots nets as published: leave out --model, --input_size, "
                "--num_classes, --norm and --set"
            )
        names = find_models(COMPARE.value)
        out = pathlib.Path(OUT.value)
        with own_folder(out, "profile", {}) as new:
            files = [out / path.name for path in draw_comparison(names, new)]
        print(render_comparison(names, FORMAT.value))
        # Not on standard output, where a program may read the table.
        print("plots: " + " ".join(map(str, files)), file=sys.stderr)
        return
    if not MODEL.value:
        raise UserError("--model is missing: give a name from ./launch.sh models")
    height, width, channels = variant(MODEL.value).input_shape
    if INPUT_SIZE.value:
        height = width = INPUT_SIZE.value
    changes = parse_changes(SET.value)
    if "name" in changes:
        raise UserError("--set=name cannot choose the net: give --model")
    given = {"num_classes": NUM_CLASSES.value, "norm": NORM.value}
    changes |= {key: value for key, value in given.items() if value is not None}
    model = create_model(MODEL.value, **changes)
    profile = profile_model(model, (height, width, channels), MODEL.value)
    print(render_profile(profile, FORMAT.value))


if __name__ == "__main__":
    cli.run(main, only_prints=True)
