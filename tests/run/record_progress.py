"""Records when each run of an ablation began, got on and ended, for `test_forecast.py`.

    .venv/bin/python -m tests.run.record_progress \\
        tests/run/recorded_progress/OUT.json --ablation=degradation \\
        --scale=laptop --workdir=FOLDER
"""

import dataclasses
import json
import sys
import time
from pathlib import Path

from cnnjax.run import progress
from cnnjax.run.provenance import processor

OUT = Path(sys.argv.pop(1))
FORECASTS = []


class Recorded(progress.Forecast):
    """A forecast that keeps what it is told, and when."""

    def __init__(self, loads, now, jobs=1):
        super().__init__(loads, now, jobs)
        self.loads, self.jobs, self.began = loads, jobs, time.monotonic()
        self.events: list = []
        FORECASTS.append(self)

    def note(self, *event):
        self.events.append([round(time.monotonic() - self.began, 2), *event])

    def prepare(self, name):
        self.note("prepare", name)
        super().prepare(name)

    def start(self, name, fraction):
        self.note("start", name, fraction)
        super().start(name, fraction)

    def update(self, name, fraction):
        self.note("update", name, fraction)
        super().update(name, fraction)

    def end(self, name):
        self.note("end", name)
        super().end(name)


def write(forecast: Recorded) -> None:
    """One event a line, so that a new record can be looked through."""
    head = {
        "command": " ".join(sys.argv[1:]),
        "processor": processor(),
        "jobs": forecast.jobs,
        "loads": {n: dataclasses.astuple(v) for n, v in forecast.loads.items()},
    }
    events = ",\n".join(json.dumps(event) for event in forecast.events)
    OUT.write_text(json.dumps(head)[:-1] + ',\n"events": [\n' + events + "\n]}\n")


if __name__ == "__main__":
    progress.Forecast = Recorded
    from cnnjax import cli
    from experiments.ablate import main

    try:
        cli.run(main)
    finally:
        write(FORECASTS[0])
