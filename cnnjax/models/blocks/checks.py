"""Checks of arguments that several nets share."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnnjax.errors import UserError, shown

# Arguments that count layers or blocks.
COUNTS = ("depth", "depths", "layers", "num_blocks", "num_convs")
# Eight times the deepest net in print; each one more takes milliseconds to trace.
MOST_LAYERS = 10_000


def check_counts(arguments: Mapping[str, Any]) -> None:
    """Refuses nets of so many layers that only building them takes hours.

    Args:
      arguments: of a net, of the types of its defaults.

    Raises:
      UserError: says what is allowed.
    """
    for key in COUNTS:
        value = arguments.get(key, 0)
        counts = value if isinstance(value, tuple) else (value,)
        if sum(n for n in counts if isinstance(n, int)) > MOST_LAYERS:
            raise UserError(
                f"config.model.{key} {shown(value)} asks for more layers than a net "
                f"can have here: together at most {MOST_LAYERS:,}"
            )


def check_numbers(
    key: str, values: Sequence[int], *, count: int | None = None, least: int = 1
) -> None:
    """Refuses a list of another length, or with too small a number in it.

    Args:
      key: name of the argument.
      values: what was given.
      count: how many there must be; None for any number of them.
      least: smallest legal value.

    Raises:
      UserError: says what is allowed.
    """
    wrong_count = count is not None and len(values) != count
    if wrong_count or min(values, default=least) < least:
        numbers = "numbers" if count is None else f"{count} numbers"
        raise UserError(
            f"config.model.{key} {shown(tuple(values))} must be {numbers} of at least "
            f"{least}"
        )
