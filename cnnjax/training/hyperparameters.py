"""The hyperparameters of one builder: what is compiled, and what is traced.

A number that is traced is an argument of the compiled program: runs that differ in such
numbers alone share one program. Each builder says itself which of its numbers these
are, so that a new one needs no entry anywhere else.
"""

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple


class Hyperparameters(NamedTuple):
    """What a builder makes of its section of a config.

    Args:
      static: what is compiled; programs are shared where this is equal. None if nothing
        of the section is compiled.
      traced: name -> number that every step is given.
    """

    static: Hashable = None
    traced: Mapping[str, Any] = {}
