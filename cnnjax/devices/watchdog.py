"""Notices a lost process and ends the others, with a sentence and an exit code.

JAX has heartbeats of its own, and they would end the others as fast. Measured with JAX
0.10.2, two processes on CPU and a heartbeat timeout of 20 s: when one is killed or
stopped (SIGKILL, SIGSTOP), in a collective or not, the other ends after 18 to 19 s;
when process 0 is killed, within 0.2 s. But always by SIGABRT, with 12 to 48 lines of
C++, and no differently when a process has refused its input. A batch script could not
tell what to start again (`EXIT_LOST`) from a mistake (2), nor the user which process
was lost. So JAX's timeout is longer than ours, and only the second line of defence.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple, Self

# Without a heartbeat for so long a process is lost; longer than a machine that swaps
# may delay one.
LOST_AFTER_SECONDS = 20.0
# The same where a collective operation has failed already.
LOST_AFTER_FAILURE_SECONDS = 4.0
EVERY_SECONDS = 1.0
# EX_TEMPFAIL of sysexits.h: try again.
EXIT_LOST = 75
RESUME = "the same command resumes from the last checkpoint"
# Prints its argument at the end of its input, unless that held a word.
MESSENGER = "import sys; sys.stdin.read() or print(sys.argv[1], file=sys.stderr)"


class Messenger:
    """A child process that prints an error if this process ends within the context.

    Where it is killed, or the C++ below JAX aborts it, Python cannot print any more.

    Args:
      sentence: the error.
    """

    def __init__(self, sentence: str):
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", MESSENGER, f"error: {sentence}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.dismiss()

    def dismiss(self) -> None:
        """Ends the child without a word."""
        with contextlib.suppress(OSError):
            self._child.communicate(b"done")


class Lost(NamedTuple):
    """Why all processes must end, and their exit code."""

    sentence: str
    code: int


class Watchdog:
    """Heartbeats of the processes, through the key-value store of JAX's coordinator.

    Args:
      index: of this process.
      num: number of processes.
    """

    def __init__(self, index: int, num: int):
        # The store has no public name; Orbax uses the same.
        from jax._src.distributed import global_state

        self.index, self.num = index, num
        self._store: Any = global_state.client
        self._ending = threading.Lock()
        self._seen = dict.fromkeys(range(num), (-1, time.monotonic()))
        self._messenger = Messenger(
            f"process {index} of {num} was killed, or could not continue without "
            f"process 0, which coordinates all; {RESUME}"
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def leave(self, reason: str, code: int) -> None:
        """Ends this process for a reason of its own, and with it the others."""
        lost = Lost(f"{reason} (process {self.index} of {self.num})", code)
        self._tell(lost)
        self.end(lost)

    def end(self, lost: Lost) -> None:
        """Ends this process at once: a clean end would wait for the others."""
        self._ending.acquire()  # for good: only one thread may print why
        print(f"error: {lost.sentence}", file=sys.stderr, flush=True)
        self._messenger.dismiss()
        if self.index == 0:
            time.sleep(3 * EVERY_SECONDS)  # the others read the store first
        os._exit(lost.code)

    def close(self) -> None:
        """This process has done its work, like all others."""
        self._over.set()
        # Python would kill the thread at its exit, in the middle of C++.
        self._thread.join()
        self._messenger.dismiss()

    def explain(self) -> Lost | None:
        """After a failed operation: which process it lacked; None if none is lost."""
        until = time.monotonic() + LOST_AFTER_FAILURE_SECONDS + 3 * EVERY_SECONDS
        while time.monotonic() < until:
            lost = self._told() or self._silent(LOST_AFTER_FAILURE_SECONDS)
            if lost is not None:
                return lost
            time.sleep(EVERY_SECONDS / 4)
        return None

    def _watch(self) -> None:
        beat = 0
        while not self._over.wait(EVERY_SECONDS):
            beat += 1
            with contextlib.suppress(Exception):
                self._store.key_value_set(
                    f"alive/{self.index}", str(beat), allow_overwrite=True
                )
                lost = self._told()
                # Process 0 watches all: a thousand that do would keep it busy.
                if lost is None and self.index == 0:
                    lost = self._silent(LOST_AFTER_SECONDS)
                if lost is not None:
                    self.end(lost)

    def _told(self) -> Lost | None:
        """Why another process ends all; None if none does."""
        for key, told in self._store.key_value_dir_get("lost/"):
            if key != f"lost/{self.index}":
                code, _, sentence = told.partition(" ")
                return Lost(sentence, int(code))
        return None

    def _silent(self, after_seconds: float) -> Lost | None:
        """A process without a heartbeat for so long, as far as this one looked."""
        now = time.monotonic()
        for key, beat in self._store.key_value_dir_get("alive/"):
            index = int(key.rpartition("/")[2])
            if int(beat) > self._seen[index][0]:
                self._seen[index] = (int(beat), now)
        silent = [i for i, (_, at) in self._seen.items() if now - at > after_seconds]
        if not silent:
            return None
        lost = Lost(
            f"process {silent[0]} of {self.num} has sent no heartbeat for "
            f"{after_seconds:g} s: its machine, its job step or it itself was ended; "
            f"{RESUME}",
            EXIT_LOST,
        )
        self._tell(lost)
        return lost

    def _tell(self, lost: Lost) -> None:
        with contextlib.suppress(Exception):  # the coordinator may be gone
            self._store.key_value_set(
                f"lost/{self.index}",
                f"{lost.code} {lost.sentence}",
                allow_overwrite=True,
            )
