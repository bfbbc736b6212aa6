"""Train CIFAR ResNet-20 here and in torch with the same random choices, and compare.

Example: ./launch.sh agreement --data_dir=... --seeds=3 --epochs=6
"""

import pathlib

from absl import flags

from cnnjax import cli

DATASET = flags.DEFINE_string("dataset", "cifar10", "Name of the data.")
DATA_DIR = flags.DEFINE_string("data_dir", "", "Folder of the prepared data.")
NUM_TRAIN = flags.DEFINE_integer("num_train", 5000, "Training images.", lower_bound=128)
SEEDS = flags.DEFINE_integer("seeds", 3, "Seeds, from 0 on.", lower_bound=2)
EPOCHS = flags.DEFINE_float("epochs", 6.0, "Passes over them.", lower_bound=0.1)
DEPTH = flags.DEFINE_integer("depth", 20, "Of the net: 6n + 2.", lower_bound=8)
OUT = flags.DEFINE_string(
    "out", "runs/agreement", "Folder of the results and of what random numbers decided."
)
PUBLISH = flags.DEFINE_bool("publish", False, "Also write docs/benchmarks.md.")


def main() -> None:
    # Imported late: --help and flag errors need no jax.
    from benchmarks.agreement.compare import Task, run

    data = {
        "name": DATASET.value,
        "data_dir": DATA_DIR.value,
        "num_train": NUM_TRAIN.value,
        "num_validation": 1000,
    }
    run(
        Task(data, depth=DEPTH.value, epochs=EPOCHS.value),
        SEEDS.value,
        out=pathlib.Path(OUT.value),
        repository=pathlib.Path(__file__).parent.parent,
        publish=PUBLISH.value,
    )


if __name__ == "__main__":
    cli.run(main)
