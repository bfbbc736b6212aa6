"""Checks of arguments that several nets share."""

from collections.abc import Sequence

from cnnjax.errors import UserError, shown


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
