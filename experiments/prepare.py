"""Prepare an image data set: download, verify, write ArrayRecord files.

Example: ./launch.sh prepare --dataset=cifar10 --data_dir=data

CIFAR-10, CIFAR-100, MNIST and Fashion-MNIST need no TensorFlow; any other data set of
TFDS does (extra `prepare`). With --store the photographs of a folder, of ImageNet's
archives or of shards become records that are faster to read:

    ./launch.sh prepare --dataset=imagenet --data_dir=DATA --store=STORE
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
_STORE = flags.DEFINE_string(
    "store", "", "Folder to write the photographs of --data_dir in, as records."
)
_SHORTER_SIDE = flags.DEFINE_integer(
    "shorter_side", 0, "Of --store: pixels to shrink to; 0 = as they are.", 0, 16384
)
_FORMAT = flags.DEFINE_string("format", "jpeg", "Of --store: jpeg or raw.")
_PROCESSES = flags.DEFINE_integer(
    "processes", 0, "Of --store: how many write; 0 = one a core.", 0, 1024
)


def main() -> None:
    if _STORE.value:
        # Imported late: --help and flag errors need no jax.
        from cnnjax.data.prepare.store import NAME, write_store
        from cnnjax.data.request import Request
        from configs import base

        section = dict(base.get_config().data)
        section |= {"name": _DATASET.value, "data_dir": _DATA_DIR.value}
        directory = write_store(
            Request(**section),
            _STORE.value,
            shorter_side=_SHORTER_SIDE.value,
            form=_FORMAT.value,
            processes=_PROCESSES.value,
        )
        say(
            f"ready in {directory}: --config.data.name=tfds:{NAME} "
            f"--data_dir={_STORE.value}"
        )
        return
    directory = prepare(_DATASET.value, _DATA_DIR.value, base_url=_BASE_URL.value)
    say(f"{_DATASET.value} is ready in {directory}")


if __name__ == "__main__":
    cli.run(main)
