"""The fraction of a run in which the device computes, from a profile of JAX."""

import tempfile
from pathlib import Path

from benchmarks.profile import profiled
from cnnjax.config import load_recipe
from cnnjax.interrupt import StopRequest
from cnnjax.run.loop import fit
from cnnjax.run.programs import compile_programs, shared_keys
from cnnjax.run.setup import initial_state, set_up
from cnnjax.run.shared import Shared

# Name of the execution of a program in profiles of XLA on CPU.
EXECUTION = "ThunkExecutor::Execute (wait for completion)"
EPOCHS = 15


class NoDisplay:
    """A progress display that shows nothing."""

    def start_run(self, *_):
        return self

    def update(self, *_):
        pass

    def end(self, *_):
        pass


def profile_training() -> tuple[float, float, int]:
    """Trains ResNet-20 on the digits, with logging and validation.

    Returns:
      The fraction of the time between the first and the last program in which a program
      ran; that time in seconds; and the number of optimizer steps.
    """
    config = load_recipe("resnet_digits")
    config.train.epochs = float(EPOCHS)
    config.checkpoint.every_epochs = 0.0
    config.log.tensorboard = False
    run = set_up(config)
    # Compile before the profile starts.
    shared = Shared(shared_keys(run))
    compile_programs(run, initial_state(run), shared)
    with tempfile.TemporaryDirectory() as folder, profiled() as events:
        fit(
            run,
            Path(folder, "run"),
            name="profiled",
            progress=NoDisplay(),
            stop=StopRequest(),
            warn=print,
            shared=shared,
        )
    spans = [
        (event["ts"], event["ts"] + event["dur"])
        for event in events
        if event.get("name") == EXECUTION
    ]
    return *busy(spans), run.total_steps


def busy(spans: list[tuple[float, float]]) -> tuple[float, float]:
    """The fraction of the time that spans cover, and that time in seconds.

    Args:
      spans: (begin, end) in microseconds, in any order, possibly overlapping.
    """
    covered, reached = 0.0, min(begin for begin, _ in spans)
    first = reached
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return covered / (reached - first), (reached - first) / 1e6
