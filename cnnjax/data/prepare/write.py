"""Examples to ArrayRecord files, under TFDS's own name, version, features and order."""

import contextlib
import io
import os
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import track

from cnnjax.data.prepare.archive import Contents, Example
from cnnjax.errors import UserError, near_matches
from cnnjax.texts import sentence

MOST_SHOWN = 200  # characters of what TFDS says


def write_images(name: str, root: Path, downloads: Path, contents: Contents) -> None:
    """Writes a set that TFDS knows, without TensorFlow.

    TFDS's own builder class gives features, version and description; only the part that
    needs TensorFlow, downloading and encoding, is replaced. TFDS shuffles by a hash of
    the keys, so the order of the records is that of a set prepared by TFDS itself.

    Args:
      name: name of the set in TFDS.
      root: the folder that TFDS calls `data_dir`.
      downloads: folder for what TFDS may want to put beside the records.
      contents: the examples, and class names that TFDS reads from the archive.
    """
    # Half a second, and only wanted here.
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import registered

    def split_generators(self, download_manager):
        for feature, names in contents.class_names.items():
            self.info.features[feature].names = names
        return {s: _shown(s, examples) for s, examples in contents.splits.items()}

    base = tfds.builder_cls(name)
    # The module is where TFDS looks for files that belong to a builder.
    body = {"_split_generators": split_generators, "__module__": base.__module__}
    with registered.skip_registration():
        builder_class = type(base.__name__, (base,), body)
    tfds.disable_progress_bar()
    builder = builder_class(data_dir=root, file_format="array_record")
    # No other address is asked whether it has the set.
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        # It announces a download of unknown size.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_dir=downloads, download_config=config)
    except RuntimeError as error:  # of array_record, as where the disk is full
        reason = sentence(error, MOST_SHOWN)
        raise UserError(
            f"the records of {name} cannot be written to {root} ({reason}): "
            "make room or change --data_dir, and run the command again; what was "
            f"downloaded is kept in {downloads}"
        ) from error


def folder_of(name: str, root: Path) -> Path:
    """The folder that `write_images` makes.

    Raises:
      UserError: something is there that is no empty folder, which would be taken for
        the set; the folder above it is a file, or a link to nothing.
    """
    import tensorflow_datasets as tfds

    if os.path.lexists(root / name) and not os.path.isdir(root / name):
        raise UserError(
            f"{root / name} is in the way, as it is no folder: move it away or change "
            "--data_dir"
        )
    folder = root / name / str(tfds.builder_cls(name).VERSION)
    if folder.is_dir() and not folder.is_symlink():
        # An empty one is no obstacle.
        with contextlib.suppress(OSError):
            folder.rmdir()
    if os.path.lexists(folder):
        raise UserError(
            f"{folder} is in the way, as it holds no dataset_info.json: move it away "
            "or change --data_dir"
        )
    return folder


def write_with_tensorflow(name: str, root: Path) -> None:
    """Lets TFDS prepare any of its sets; downloads and encodes with TensorFlow.

    Raises:
      UserError: what TFDS could not do.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=root, file_format="array_record")
        builder.download_and_prepare()
    except OSError:
        raise
    # Each set has code of its own, which raises whatever it comes across.
    except Exception as error:
        reason = sentence(error, MOST_SHOWN)
        raise UserError(
            f"TFDS could not prepare {name} in {root} ({reason}): what that "
            "needs is at https://www.tensorflow.org/datasets/catalog"
        ) from error


def check_known(name: str) -> None:
    """Raises a UserError unless TFDS has a set of that name."""
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    if name.split("/")[0] not in known:
        close = ", ".join(near_matches(name, known)) or "none"
        raise UserError(
            f"TFDS knows no set {name!r} (near matches: {close}): change --dataset"
        )


def _shown(split: str, examples: Iterable[Example]) -> Iterable[Example]:
    console = Console(stderr=True)
    label = f"writing {split} images"
    return track(examples, label, console=console, disable=not console.is_terminal)
