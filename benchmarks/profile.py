"""Reads profiles of JAX: spans of named operations."""

import contextlib
import gzip
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

# First words of the names of XLA's collective operations.
COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "all-to-all",
    "reduce-scatter",
    "collective-permute",
)


@contextlib.contextmanager
def profiled() -> Iterator[list[dict[str, Any]]]:
    """Profiles a block; the list that it yields has the events after the block."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    events: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            yield events
        (file,) = Path(folder).rglob("*.trace.json.gz")
        with gzip.open(file) as stream:
            events += json.load(stream)["traceEvents"]


def collective_seconds(events: list[dict[str, Any]]) -> float:
    """Seconds of all devices in collective operations, including waiting.

    Args:
      events: of `profiled`.
    """
    named = (event for event in events if "dur" in event)
    return sum(e["dur"] for e in named if e["name"].startswith(COLLECTIVES)) / 1e6
