"""The folder of its own that each study writes into."""

from pathlib import Path

from cnnjax.errors import UserError, printable


def take_folder(folder: Path, ours: set[str], flag: str) -> None:
    """Makes a folder; refuses one that holds anything but what we would replace.

    Args:
      folder: to write into.
      ours: names of the files that the study writes.
      flag: that chooses it, for the message.

    Raises:
      UserError: it cannot be made, or holds a file of others.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted({path.name for path in folder.iterdir()} - ours)
    except OSError as error:
        raise UserError(
            f"cannot write into {printable(folder)} ({error.strerror}): change {flag}"
        ) from error
    if others:
        raise UserError(
            f"{printable(folder)} holds {printable(others[0])}, which is not ours: "
            f"give a new folder by {flag}"
        )
