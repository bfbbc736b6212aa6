"""A folder of images, one subfolder a class.

Either `<data_dir>/{train,validation,test}/<class>/*.png`, or without splits
`<data_dir>/<class>/*.png`, from which validation and test are carved out. `listing.py`
has the names that count, and `images.py` what becomes of the pixels.
"""

from cnnjax.data.request import Request
from cnnjax.data.sources.encoded import decoding, in_files
from cnnjax.data.sources.listing import Listing
from cnnjax.data.sources.listing_cache import listed_once
from cnnjax.data.sources.paths import Paths
from cnnjax.data.sources.source import (
    MissingData,
    Pool,
    Source,
    check_directory,
    data_folder,
)
from cnnjax.errors import UserError, printable


def open_source(request: Request) -> Source:
    """Lists the files; classes are the subfolders of the training folder, sorted.

    Args:
      request: `data_dir` is the folder; `image_size` is needed where sizes differ.

    Raises:
      UserError: no such folder, no images, a class that training does not have, a
        split that is not sorted into classes.
    """
    if not request.data_dir:
        raise MissingData(
            "config.data.data_dir is empty: give the folder with one subfolder a class"
        )
    folder = data_folder(request.data_dir)
    check_directory(folder)
    root = str(folder)
    try:
        listing = listed_once(root)
    except RecursionError as error:
        raise UserError(
            f"the folders in {printable(root)} lie too deep within each other: give "
            "one with a subfolder for each class"
        ) from error
    absent = _unsorted(root, listing, request)
    pools = {p: Pool(len(labels), labels) for p, labels in listing.labels.items()}
    encoded = in_files(root, listing.paths)
    shape, read = decoding(encoded, listing.labels, request)
    return Source(
        pools,
        listing.class_names,
        shape,
        read,
        root=folder,
        files=lambda: Paths.joined(listing.paths.values()),
        ignored=listing.ignored,
        remarks=(*listing.remarks, *absent),
        certain=bool(request.channels) or shape[2] == 3,
        in_splits=listing.in_splits,
    )


def _unsorted(root: str, listing: Listing, request: Request) -> list[str]:
    """Sentences on splits whose classes are unknown; refuses where they are wanted."""
    sentences = []
    for pool, num in listing.unsorted.items():
        key = f"num_{pool}"
        what = f"{num:,} {pool} images in {printable(root)} lie in no folder of a class"
        wanted = getattr(request, key) == 0
        if wanted and not (pool == "test" and request.holds_out):
            raise UserError(
                f"{what}: sort them into one folder a class, or do without them by "
                f"config.data.{key}=-1 (none) or a number (taken out of train)"
            )
        sentences.append(f"{what} and are not used")
    return sentences
