"""Examples to ArrayRecord files, under TFDS's own name, version, features and order."""

import contextlib
import io
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import track

from cnnjax.data.prepare.archive import Contents, Example
from cnnjax.errors import UserError, near_matches


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
    # It announces a download of unknown size.
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_dir=downloads)


def write_with_tensorflow(name: str, root: Path) -> None:
    """Lets TFDS prepare any of its sets; downloads and encodes with TensorFlow."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=root, file_format="array_record")
    builder.download_and_prepare()


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
