"""Prepare an image data set: download, verify, write ArrayRecord files.

Example: ./launch.sh prepare --dataset=cifar10 --data_dir=data

CIFAR-10, CIFAR-100, MNIST and Fashion-MNIST need no TensorFlow; any other data set of
TFDS does (extra `prepare`).
"""

from absl import flags

from cnnjax import cli
from cnnjax.data.prepare import SETS, prepare
from cnnjax.screen import say

_DATASET = flags.DEFINE_string(
    "dataset", "cifar10", f"{', '.join(SETS)}, or another data set of TFDS."
)
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder for the data set.")
_BASE_URL = flags.DEFINE_string("base_url", None, "Mirror to download from.")


def main() -> None:
    directory = prepare(_DATASET.value, _DATA_DIR.value, base_url=_BASE_URL.value)
    say(f"{_DATASET.value} is ready in {directory}")


if __name__ == "__main__":
    cli.run(main)
