"""Write the trained weights of a run to a file for other libraries.

Example: ./launch.sh export --workdir=runs/mine --weights=best --out=mine.safetensors
         ./launch.sh export --workdir=runs/mine --format=torchvision --out=mine.pth
"""

from absl import flags

from cnnjax import cli
from cnnjax.errors import UserError
from cnnjax.screen import say

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of a run, or of an arm.")
WEIGHTS = flags.DEFINE_string(
    "weights", "best", "best (on validation), last, ema (moving average) or initial."
)
SEED = flags.DEFINE_integer("seed", 0, "One of the seeds of the run.")
FORMAT = flags.DEFINE_string(
    "format",
    "safetensors",
    "safetensors, orbax; a state dict with the names of torchvision, timm, cifar or "
    "cifar_append; or torch, with the names of the first of these that has the net.",
)
OUT = flags.DEFINE_string(
    "out", "", "New file (.safetensors, or .pth for torch's formats) or Orbax folder."
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "Folder of the data set, for runs without preprocessing.json."
)


def main() -> None:
    if not WORKDIR.value:
        raise UserError("--workdir is missing: give the folder of a run")
    if not OUT.value:
        raise UserError("--out is missing: give the file to write")
    # Imported late: --help and flag errors need no jax.
    from cnnjax.run.trained.export import check_target, export
    from cnnjax.run.trained.load import load_run

    out = check_target(OUT.value, FORMAT.value)
    net = load_run(WORKDIR.value, WEIGHTS.value, SEED.value, data_dir=DATA_DIR.value)
    wrote = export(net, out, FORMAT.value)
    say(f"{wrote.path}: {net.words()}")
    say(f"names of the leaves: {wrote.names}")
    say(f"preprocessing: {net.preprocess.words()}")
    if wrote.sidecar:
        say(f"metadata: {wrote.sidecar}")
    if net.note:
        say(f"note: {net.note}")


if __name__ == "__main__":
    cli.run(main)
