"""Data and programs that several runs of a process share: made once, then dropped."""

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from cnnjax.config import IRRELEVANT, flatten


class Shared:
    """A store of values that are made when the first run asks for them.

    Runs may ask from several threads: the first makes a value, the others wait for it.

    Args:
      needed: the keys that will be asked for, one for each run that asks. A key that
        is not among them is made for its caller alone, and not kept.
    """

    def __init__(self, needed: Iterable[Hashable] = ()):
        self._left = Counter(needed)
        self._locks = {key: threading.Lock() for key in self._left}
        self._made: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value of a key; if `make` raises, the next caller tries again."""
        if key not in self._locks:
            return make()
        with self._locks[key]:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]

    def done(self, keys: Iterable[Hashable]) -> None:
        """One run has no more use for these; what no other run needs is dropped."""
        for key in keys:
            with self._locks[key]:
                self._left[key] -= 1
                if not self._left[key]:
                    self._made.pop(key, None)


def program_key(config: Mapping, static: Mapping[str, Hashable]) -> Hashable:
    """Everything that the programs of a run are compiled for.

    Args:
      config: of the run.
      static: section -> what is compiled of it; other sections are compiled as they
        are.
    """
    others = {section: c for section, c in config.items() if section not in static}
    kept = [
        (key, repr(value))
        for key, value in flatten(others).items()
        if not key.startswith(IRRELEVANT)
    ]
    return (*static.items(), *kept)
