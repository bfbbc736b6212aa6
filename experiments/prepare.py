"""Prepares an image set: download, verify, write ArrayRecord files.

    ./launch.sh prepare --dataset=cifar10 --data_dir=data

CIFAR-10, CIFAR-100, MNIST and Fashion-MNIST need no TensorFlow; any other set of TFDS
does (extra `prepare`).
"""

from absl import flags

from cnnjax import cli
from cnnjax.data.prepare import SETS, prepare

_DATASET = flags.DEFINE_string(
    "dataset", "cifar10", f"{', '.join(SETS)}, or another name that TFDS knows"
)
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "folder to prepare the set in")
_BASE_URL = flags.DEFINE_string("base_url", None, "mirror to download from")


def main() -> None:
    directory = prepare(_DATASET.value, _DATA_DIR.value, base_url=_BASE_URL.value)
    print(f"{_DATASET.value} is ready in {directory}")


if __name__ == "__main__":
    cli.run(main)
