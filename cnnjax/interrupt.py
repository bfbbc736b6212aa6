"""Stopping between two dispatches, so that Ctrl-C, SIGTERM and SIGHUP lose nothing.

Programs that others start may also end when their parent does: see `end_with_parent`.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

NOTICE = b"""
stopping when this dispatch (or compiling) is over, and saving a checkpoint; once more
stops at once, and the last checkpoint counts
"""


# Ctrl-C, the scheduler, and a terminal or connection that is closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Number of the pipe by which a program knows that its parent lives.
PARENT = "CNNJAX_PARENT_PIPE"

_stopping = threading.Event()  # since a signal, for as long as it is caught


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
    signals: tuple[int, ...] = SIGNALS,
    again: signal.Handlers = signal.SIG_DFL,
) -> Iterator[StopRequest]:
    """Turns the first signal into a request; the second one kills.

    Of hangups only the first counts: a terminal that is closed may cause several. Only
    for the main thread, where Python runs signal handlers.

    Args:
      notice: what is printed at the first one.
      signals: which ones.
      again: what a second one does. A scheduler may send it several times, and
        SIGKILL at last: there, SIG_IGN.
    """
    request = StopRequest()

    def handle(signum, frame):
        request.set(signum)
        _stopping.set()
        # The signal may have come in the middle of a print: that cannot be nested.
        with contextlib.suppress(OSError):
            os.write(1, notice)
        for number in signals:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else again)

    with handling(signals, handle) as signals:
        try:
            yield request
        finally:
            _stopping.clear()


@contextlib.contextmanager
def handling(
    signals: tuple[int, ...], handle: Callable[[int, Any], None]
) -> Iterator[tuple[int, ...]]:
    """Within, some signals call a function, but for a hangup that is ignored (nohup).

    Yields:
      Those that do; none outside the main thread, which alone may handle them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield ()
        return
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    signals = tuple(n for n in signals if not (n == signal.SIGHUP and is_ignored))
    old = {number: signal.signal(number, handle) for number in signals}
    try:
        yield signals
    finally:
        for number in signals:
            signal.signal(number, old[number])


@contextlib.contextmanager
def lifeline() -> Iterator[tuple[int, dict[str, str]]]:
    """A pipe that breaks when this process ends, however it does.

    The kernel could tell a child too (PR_SET_PDEATHSIG), but on Linux alone, and when
    the thread that started it ends. A pipe is closed with its process everywhere.

    Yields:
      The end for a child (`pass_fds`) and the variable that names it there.
    """
    theirs, ours = os.pipe()
    try:
        yield theirs, {PARENT: str(theirs)}
    finally:
        os.close(theirs)
        os.close(ours)


def end_with_parent() -> None:
    """Sends SIGTERM to this process when its parent ends, if that gave a `lifeline`.

    SIGTERM saves where there is something to save.
    """
    number = os.environ.pop(PARENT, "")  # not for children of this one
    if not number.isdecimal():
        return

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.read(int(number), 1)  # there is nothing to read until it breaks
            if not _stopping.is_set():  # a second signal would kill
                os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
