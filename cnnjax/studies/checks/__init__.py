"""Checks of a config before it is trained: one kind a file, all of them here."""

from collections.abc import Callable, Iterator

from cnnjax.run.setup import Run
from cnnjax.studies.checks.at_start import activations, gradients, initial_loss, units
from cnnjax.studies.checks.derivative import derivatives
from cnnjax.studies.checks.few_images import few_images
from cnnjax.studies.checks.finding import UNKNOWN, Finding, Subject, subject_of
from cnnjax.studies.checks.pairs import labels_fit

# What each looks at, and the function that does; the quick ones first.
CHECKS: tuple[tuple[tuple[str, ...], Callable], ...] = (
    (("labels belong to the images",), labels_fit),
    (("there are activations",), activations),
    (("loss at initialisation",), initial_loss),
    (("dead and saturated units",), units),
    (("gradients by layer",), gradients),
    (
        ("a few images are learnt by heart", "training and evaluation agree"),
        few_images,
    ),
    (("gradients against differences, float64",), derivatives),
)


def check(run: Run, seconds_left: Callable[[], float]) -> Iterator[tuple[str, Finding]]:
    """Carries out all checks; what there is no time for says so.

    Args:
      run: of `set_up`.
      seconds_left: until they should be done.
    """
    subject = subject_of(run, seconds_left)
    for titles, function in CHECKS:
        if seconds_left() < 0:
            late = Finding(UNKNOWN, "", "the time was up: give more --seconds")
            found: tuple[Finding, ...] = (late,) * len(titles)
        else:
            result = function(subject)
            found = result if len(titles) > 1 else (result,)
        yield from zip(titles, found, strict=True)


__all__ = ["CHECKS", "Finding", "Subject", "check"]
