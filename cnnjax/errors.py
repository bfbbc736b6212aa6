"""Errors that a person can act on: one sentence, shown without a traceback."""

import difflib
from collections.abc import Iterable

# A longer list of names hides the sentence around it.
MOST_LISTED = 40
# As does a value of more characters.
MOST_SHOWN = 80
# For what an encoding lacks, as the bytes of a name that is not UTF-8.
ESCAPING = "backslashreplace"


class UserError(Exception):
    """A mistake in what the user gave: flag, config, data, checkpoint or folder.

    The message is one sentence: what was given, what is allowed, where to change it.
    Programs in `experiments/` print it and exit with code 2.
    """


def shown(value: object) -> str:
    """A value for a sentence, like `repr`: what is long is cut in its middle."""
    text = repr(value)
    half = MOST_SHOWN // 2
    return text if len(text) <= MOST_SHOWN else f"{text[:half]}...{text[-half:]}"


def printable(name: object) -> str:
    """A name of a file as any terminal shows it, on one line.

    What is no character, as the bytes of a name that is not UTF-8, is escaped.
    """
    return "".join(
        c if c.isprintable() else ascii(c)[1:-1].replace("\\udc", "\\x")
        for c in str(name)
    )


def near_matches(given: str, allowed: Iterable[str]) -> list[str]:
    """The (at most three) allowed names that look most like the given one."""
    return difflib.get_close_matches(str(given), [str(a) for a in allowed], n=3)


def unknown_name(
    what: str, given: object, allowed: Iterable[str], where: str
) -> UserError:
    """Builds the error for a name that is not in a list.

    Args:
      what: the kind of thing named, for instance 'norm kind'.
      given: what the user wrote.
      allowed: every legal name.
      where: where to change it, for instance 'config.norm.kind'.

    Returns:
      The error, to be raised by the caller.
    """
    allowed = sorted(str(a) for a in allowed)
    close = near_matches(str(given), allowed)
    hint = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    choice = f"allowed are {', '.join(allowed)}"
    if len(allowed) > MOST_LISTED:
        choice = f"there are {len(allowed)} to choose from"
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
