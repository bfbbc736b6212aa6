"""Stopping between two dispatches, so that Ctrl-C and SIGTERM lose nothing."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

NOTICE = b"""
stopping when this dispatch (or compiling) is over, and saving a checkpoint; once more
stops at once, and the last checkpoint counts
"""


class Stopped(Exception):
    """A run ended early because it was asked to; its checkpoint is on disk."""


class StopRequest:
    """A flag that a signal sets and the training loop reads.

    Args:
      exit_code: 128 + signal number once set, as shells report a killed program.
    """

    def __init__(self):
        self._event = threading.Event()
        self.exit_code = 0

    def set(self, signum: int) -> None:
        """Asks to stop; the first to ask gives the exit code."""
        if not self:
            self.exit_code = 128 + signum
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()


@contextlib.contextmanager
def catching_signals(
    notice: bytes = NOTICE,
    signals: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM),
    again: signal.Handlers = signal.SIG_DFL,
) -> Iterator[StopRequest]:
    """Turns the first signal into a request; the second one kills.

    Only for the main thread, where Python runs signal handlers.

    Args:
      notice: what is printed at the first one.
      signals: which ones.
      again: what a second one does. A scheduler may send it several times, and
        SIGKILL at last: there, SIG_IGN.
    """
    request = StopRequest()

    def handle(signum, frame):
        request.set(signum)
        # The signal may have come in the middle of a print: that cannot be nested.
        with contextlib.suppress(OSError):
            os.write(1, notice)
        for number in signals:
            signal.signal(number, again)

    old = {number: signal.signal(number, handle) for number in signals}
    try:
        yield request
    finally:
        for number in signals:
            signal.signal(number, old[number])
