"""Starts a process as a store does, says its number, and waits, for a test to kill."""

import multiprocessing
import time

from cnnjax.data.prepare.store import end_with_parent


def wait() -> None:
    end_with_parent()
    time.sleep(60)


if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=wait)
    child.start()
    time.sleep(1)
    print(child.pid, flush=True)
    child.join()
