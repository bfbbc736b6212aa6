"""What the parts of a definition are made of, in one sentence where they are not."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cnnjax.errors import UserError, shown

# Letters of a line in a figure; a longer one would leave no room for the picture.
MOST_DRAWN = 70


def check_text(value: Any, what: str, where: str) -> None:
    """Refuses what is no text."""
    _require(isinstance(value, str), value, what, "a text", where)


def check_mapping(value: Any, what: str, where: str) -> None:
    """Refuses what is no mapping."""
    _require(isinstance(value, Mapping), value, what, "a mapping such as {...}", where)


def check_list(value: Any, what: str, where: str) -> None:
    """Refuses what is no list; a text is none, although it can be walked."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    _require(is_list, value, what, "a list", where)


def check_instances(value: Any, kind: type, what: str, where: str) -> None:
    """Refuses what is no list of instances of a class."""
    check_list(value, what, where)
    for item in value:
        _require(
            isinstance(item, kind), item, f"one of {what}", f"of {kind.__name__}", where
        )


def check_whole(value: Any, least: int, what: str, where: str) -> None:
    """Refuses what is no whole number, or below `least`."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    allowed = f"a whole number that is at least {least}"
    _require(is_whole and value >= least, value, what, allowed, where)


def check_number(value: Any, what: str, where: str) -> None:
    """Refuses what is no finite number."""
    _require(is_number(value), value, what, "a finite number", where)


def is_number(value: Any) -> bool:
    """Whether a value is a number of which sums of squares are finite."""
    is_kind = isinstance(value, int | float) and not isinstance(value, bool)
    return is_kind and abs(value) <= 1e100  # also exact for integers of any size


def check_title(title: str, where: str) -> None:
    """Refuses a title with mathematics, as in '$x_1$', that cannot be drawn."""
    if not is_mathematics(title):
        return
    if len(title) > MOST_DRAWN or not title.isprintable():
        raise UserError(
            f"{where}: title {shown(title)} has mathematics, so it must be one line of "
            f"at most {MOST_DRAWN} characters"
        )
    from matplotlib.mathtext import MathTextParser

    try:
        MathTextParser("path").parse(title)
    except Exception as error:  # whatever a parser does with such a text
        where_found = re.search(r"found [^\n]* \(at char \d+\)", str(error))
        reason = where_found[0] if where_found else type(error).__name__
        raise UserError(
            f"{where}: title {shown(title)} cannot be drawn as mathematics ({reason}): "
            r"correct it, or write \$ for a dollar"
        ) from error


def is_mathematics(title: str) -> bool:
    """Whether a title asks to be drawn as mathematics, by dollars in pairs."""
    dollars = title.count("$") - title.count(r"\$")
    return dollars > 0 and dollars % 2 == 0


def _require(holds: bool, value: Any, what: str, allowed: str, where: str) -> None:
    if not holds:
        raise UserError(f"{where}: {what} is {shown(value)}, but must be {allowed}")
