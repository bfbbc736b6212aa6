"""What a profile of JAX says: spans of named operations."""

import contextlib
import gzip
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

# How XLA begins the names of operations that wait for other devices.
COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "all-to-all",
    "reduce-scatter",
    "collective-permute",
)


@contextlib.contextmanager
def profiled() -> Iterator[list[dict[str, Any]]]:
    """Gives a list that holds the events of what ran within, once it is over."""
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
    """Time that all devices together spent in collective operations, waiting included.

    Args:
      events: of `profiled`.
    """
    named = (event for event in events if "dur" in event)
    return sum(e["dur"] for e in named if e["name"].startswith(COLLECTIVES)) / 1e6
