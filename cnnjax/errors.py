"""Errors that the user can fix: one sentence, shown without a traceback."""

import difflib
import errno
from collections.abc import Iterable

from cnnjax.texts import sentence

# Longer lists of names are not printed, as they hide the message.
MOST_LISTED = 40
MOST_LISTED_CHARACTERS = 400
# Longer values are shortened to this number of characters.
MOST_SHOWN = 80
# Error handler for characters that an encoding lacks, as in file names not in UTF-8.
ESCAPING = "backslashreplace"
# What helps where the system refuses; it tells of anything else by itself.
_SPACE = "free space there (or files: df -i), or choose another folder with --workdir"
_PERMIT = "permit it, or choose another folder with --workdir"
_OPEN_FILES = "end what holds files open, or raise the limit (ulimit -n)"
_REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EACCES: _PERMIT,
    errno.EPERM: _PERMIT,
    errno.EROFS: _PERMIT,
    errno.EMFILE: _OPEN_FILES,
    errno.ENFILE: _OPEN_FILES,
    errno.ENOMEM: "free memory, or train fewer cells at a time",
    errno.ENAMETOOLONG: "give a shorter --workdir, or shorter names",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or choose another folder "
    "with --workdir",
}
_OF_DISK = "see to that disk, or choose another folder with --workdir"
# An error of the machine, not of a program.
OF_MACHINE = (*_REMEDIES, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOLCK)


class UserError(Exception):
    """A mistake in the user's input: flag, config, data, checkpoint or folder.

    The message is one sentence: what was given, what is allowed, where to change it.
    Programs in `experiments/` print it and exit with code 2. Whatever it quotes, its
    text is that of `texts.sentence`, without codes of terminals and not too long.
    """

    def __str__(self) -> str:
        return sentence(super().__str__())


def shown(value: object) -> str:
    """The `repr` of a value, shortened in the middle if it is long."""
    text = repr(value)
    half = MOST_SHOWN // 2
    return text if len(text) <= MOST_SHOWN else f"{text[:half]}...{text[-half:]}"


def printable(name: object) -> str:
    """A file name on one line, in characters that any terminal can print.

    Everything else is escaped, such as the bytes of a name that is not UTF-8.
    """
    return "".join(
        c if c.isprintable() else ascii(c)[1:-1].replace("\\udc", "\\x")
        for c in str(name)
    )


def in_words(error: BaseException) -> str:
    """Kind and text of any exception on one line; many have no text."""
    text = sentence(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def near_matches(given: str, allowed: Iterable[str]) -> list[str]:
    """The allowed names most similar to the given one, at most three."""
    return difflib.get_close_matches(str(given), [str(a) for a in allowed], n=3)


def unknown_name(
    what: str, given: object, allowed: Iterable[str], where: str
) -> UserError:
    """Builds the error for a name that is not in a list.

    Args:
      what: the kind of name, for instance 'norm kind'.
      given: the user's name.
      allowed: every allowed name.
      where: where to change it, for instance 'config.norm.kind'.

    Returns:
      The error, to be raised by the caller.
    """
    names = sorted(str(a) for a in allowed)
    close = near_matches(str(given), names)
    hint = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    choice = f"allowed are {', '.join(names)}"
    if len(names) > MOST_LISTED or len(choice) > MOST_LISTED_CHARACTERS:
        choice = f"there are {len(names)} to choose from"
    return UserError(f"unknown {what} {shown(given)}: {hint}{choice} (set by {where})")


def in_range(key: str, value: float, low: float, high: float, unit: str = "") -> None:
    """Refuses a number outside [low, high].

    Raises:
      UserError: names the key, the value and the range.
    """
    if not low <= value <= high or value == float("inf"):
        unit = f" {unit}" if unit else ""
        bounds = f"from {low} to {high}"
        if high == float("inf"):
            bounds = f"at least {low}" if value < low else f"finite and at least {low}"
        raise UserError(f"config.{key} is {value} but must be {bounds}{unit}")


def remedy(error: OSError) -> str:
    """What the user can do about an error of the system, behind its reason."""
    return _REMEDIES.get(error.errno or 0, _OF_DISK)
