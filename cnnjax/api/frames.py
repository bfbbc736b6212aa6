"""Rows of results as a frame of pandas, which is an extra."""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from cnnjax.errors import UserError

Rows = Sequence[Mapping[str, Any]]


def as_frame(rows: Rows, instead: str) -> Any:
    """A `pandas.DataFrame` of rows with names.

    Args:
      rows: one mapping a row.
      instead: the expression that gives the rows themselves.

    Raises:
      UserError: pandas is not installed.
    """
    if importlib.util.find_spec("pandas") is None:
        raise UserError(
            "to_frame() needs pandas, which is not installed: pip install "
            f"'cnnjax[frame]', or take {instead}, the same as dictionaries"
        )
    import pandas as pd

    return pd.DataFrame([dict(row) for row in rows])
