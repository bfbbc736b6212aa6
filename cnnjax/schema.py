"""Kinds of JSON values, and one walk that finds what does not fit them.

A kind has one method, `sift`: it gives the value without what does not fit, and tells
of each such part in a phrase. Strict readers refuse a record with any; lenient ones
take what is left.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from cnnjax.errors import UserError, shown
from cnnjax.names import check_name

# Stands for a value that does not fit at all.
HOLE: Final = object()
MOST_WHOLE = 2**63 - 1
MOST_REAL = 1e100  # sums of squares of such numbers are finite
MOST_CHARACTERS = 100_000
MOST_ITEMS = 100_000
# What stands in records for numbers that JSON does not have.
NON_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def text_again(value: Any) -> Any:
    """The text of which `records.from_line` made a number that is not finite.

    Where a text belongs, "NaN" is a name like any other. Every other value stays.
    """
    if type(value) is not float or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"


class Kind(Protocol):
    """What a value must be."""

    def sift(self, value: Any, at: str, flaws: list[str]) -> Any:
        """The value without what does not fit.

        Args:
          value: of JSON, after `records.from_line`.
          at: where it stands in the record, such as 'final.test'; '' for the whole.
          flaws: a phrase is added for each part that does not fit.

        Returns:
          What is left, or `HOLE`.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Number:
    """A number within bounds; true and false are none.

    Args:
      low: least.
      high: largest.
      whole: an integer.
      non_finite: NaN and infinities fit as well, as results of a net that diverged.
    """

    low: float = -MOST_REAL
    high: float = MOST_REAL
    whole: bool = False
    non_finite: bool = False

    def sift(self, value: Any, at: str, flaws: list[str]) -> Any:
        kind = type(value)
        # Python compares integers of any size with floats exactly.
        fits = (kind is int or (kind is float and not self.whole)) and (
            self.low <= value <= self.high
        )
        odd = kind is float and (value != value or abs(value) == float("inf"))
        if fits or (odd and self.non_finite):
            return value
        return _misfit(value, at, self._words(), flaws)

    def _words(self) -> str:
        name = "an integer" if self.whole else "a number"
        if self.high not in (MOST_REAL, MOST_WHOLE):
            return f"{name} from {self.low:g} to {self.high:g}"
        return name if self.low == -MOST_REAL else f"{name} of at least {self.low:g}"


@dataclasses.dataclass(frozen=True)
class Text:
    """A string.

    Args:
      most: characters.
      of: the strings that fit; () for all.
      like: a regular expression that fits them as a whole.
    """

    most: int = MOST_CHARACTERS
    of: tuple[str, ...] = ()
    like: str = ""

    def sift(self, value: Any, at: str, flaws: list[str]) -> Any:
        value = text_again(value)
        if not isinstance(value, str):
            return _misfit(value, at, "a text", flaws)
        if len(value) > self.most:
            return _misfit(value, at, f"a text of at most {self.most:,} letters", flaws)
        if self.of and value not in self.of:
            return _misfit(value, at, f"one of {', '.join(self.of)}", flaws)
        if self.like and not re.fullmatch(self.like, value):
            return _misfit(value, at, f"a text like {self.like}", flaws)
        return value


@dataclasses.dataclass(frozen=True)
class Name:
    """A name that may become a file, by `names.check_name`.

    Args:
      what: the kind of name, such as 'arm'.
    """

    what: str

    def sift(self, value: Any, at: str, flaws: list[str]) -> Any:
        try:
            return check_name(self.what, text_again(value), at or "the record")
        except UserError as error:
            flaws.append(str(error))
            return HOLE


@dataclasses.dataclass(frozen=True)
class Flag:
    """True or false."""

    def sift(self, value: Any, at: str, flaws: list[str]) -> Any:
        return (
            value
            if isinstance(value, bool)
            else _misfit(value, at, "true or false", flaws)
        )


@dataclasses.dataclass(frozen=True)
class Anything:
    """Whatever JSON can hold; its reader checks it."""

    def sift(self, value: Any, at: str, flaws: list[str]) -> Any:
        return value


@dataclasses.dataclass(frozen=True)
class Maybe:
    """Null, or a value of a kind."""

    kind: Kind

    def sift(self, value: Any, at: str, flaws: list[str]) -> Any:
        return None if value is None else self.kind.sift(value, at, flaws)


@dataclasses.dataclass(frozen=True)
class Items:
    """A list of values of one kind; with one that does not fit, none is taken.

    Args:
      kind: of each.
      least: how many there are at least.
      most: how many there are at most.
    """

    kind: Kind
    least: int = 0
    most: int = MOST_ITEMS

    def sift(self, value: Any, at: str, flaws: list[str]) -> Any:
        if not isinstance(value, list):
            return _misfit(value, at, "a list", flaws)
        if not self.least <= len(value) <= self.most:
            bounds = f"{self.least:,} to {self.most:,}"
            flaws.append(f"{at or 'it'} has {len(value):,} items, not {bounds}")
            return HOLE
        found = []
        for number, item in enumerate(value):
            sifted = self.kind.sift(item, f"{at}[{number}]", flaws)
            if sifted is HOLE:
                return HOLE
            found.append(sifted)
        return found


@dataclasses.dataclass(frozen=True)
class Table:
    """An object with any keys and values of one kind; those that do not fit go.

    Args:
      kind: of each value.
      key: of the keys.
    """

    kind: Kind
    key: Kind = Text(most=1000)

    def sift(self, value: Any, at: str, flaws: list[str]) -> Any:
        if not isinstance(value, dict):
            return _misfit(value, at, "an object", flaws)
        found = {}
        for key, item in value.items():
            if self.key.sift(key, at, flaws) is HOLE:
                continue
            sifted = self.kind.sift(item, _below(at, key), flaws)
            if sifted is not HOLE:
                found[key] = sifted
        return found


@dataclasses.dataclass(frozen=True)
class Object:
    """An object with known fields; unknown ones stay as they are.

    Args:
      needs: field -> kind; without one of them the object does not fit.
      may: field -> kind, of those that may be missing; one that does not fit goes.
      agrees: what the fields must have in common: gives a phrase where they do not.
      others: kind of the unknown fields.
    """

    needs: Mapping[str, Kind] = dataclasses.field(default_factory=dict)
    may: Mapping[str, Kind] = dataclasses.field(default_factory=dict)
    agrees: Callable[[dict[str, Any]], str | None] = lambda fields: None
    others: Kind = Anything()

    def sift(self, value: Any, at: str, flaws: list[str]) -> Any:
        if not isinstance(value, dict):
            return _misfit(value, at, "an object", flaws)
        found, whole = {}, True
        for key in self.needs.keys() - value.keys():
            flaws.append(f"{_below(at, key)} is missing")
            whole = False
        for key, item in value.items():
            kind = self.needs.get(key) or self.may.get(key) or self.others
            sifted = kind.sift(item, _below(at, key), flaws)
            if sifted is not HOLE:
                found[key] = sifted
            elif key in self.needs:
                whole = False
        if not whole:
            return HOLE
        if phrase := self.agrees(found):
            flaws.append(f"{at or 'it'} {phrase}")
            return HOLE
        return found


def _below(at: str, key: str) -> str:
    key = key if key.isidentifier() else shown(key)
    return f"{at}.{key}" if at else key


def _misfit(value: Any, at: str, wanted: str, flaws: list[str]) -> Any:
    if isinstance(value, dict | list):
        # Its repr may be long, or too deep.
        value_words = "an object" if isinstance(value, dict) else "a list"
    elif isinstance(value, int) and abs(value) > MOST_WHOLE:
        value_words = "an integer beyond 64 bits"
    else:
        value_words = "null" if value is None else shown(value)
    flaws.append(f"{at or 'it'} is {value_words}, not {wanted}")
    return HOLE
