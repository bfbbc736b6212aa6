"""One lock: whom it keeps out, who takes it over, and what it never follows."""

import collections
import errno
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cnnjax import lock as module
from cnnjax import process
from cnnjax.errors import UserError
from cnnjax.lock import LOCK, LostError, TakenError, holder, locked
from cnnjax.process import QUIET_SECONDS, identity

ROOT = Path(__file__).parents[1]
DEAD = identity() | {"born": 1, "key": "dead"}
ELSEWHERE = identity() | {"host": "elsewhere", "key": "far"}


@pytest.fixture
def other():
    """What identifies another process of this machine, which lives."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield identity(child.pid)
    child.communicate()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / LOCK


def leave(path, known, ago=0.0):
    path.parent.mkdir(exist_ok=True)
    path.write_text(known if isinstance(known, str) else json.dumps(known))
    os.utime(path, (time.time() - ago,) * 2)


def names(path):
    return sorted(p.name for p in path.parent.iterdir())


def no_one(sentence):
    pytest.fail(sentence)


def take(path, say=no_one):
    return locked(path, "it is in use", otherwise="choose another", say=say)


def test_it_is_there_while_it_is_held(path):
    with take(path) as lock:
        known = json.loads(path.read_text())
        assert identity().items() <= known.items()
        assert holder(path) == known
        assert names(path) == [LOCK]
        lock.check(every=0)
    assert holder(path) is None
    assert names(path) == []


def test_a_living_process_is_named_and_left_alone(path, other):
    leave(path, other)
    before = path.read_bytes()
    with pytest.raises(TakenError) as said, take(path):
        pass
    assert str(said.value) == (
        f"it is in use by process {other['pid']} on {other['host']}: wait for it, end "
        "it, or choose another"
    )
    assert path.read_bytes() == before
    assert names(path) == [LOCK]


def test_a_thread_takes_it_again_and_another_one_does_not(path):
    def attempt():
        with pytest.raises(TakenError, match="in use by this process"), take(path):
            pass
        refused.append(True)

    refused = []
    with take(path) as first, take(path) as second:
        assert first is second
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert refused
    assert not path.exists()


def test_an_inner_end_does_not_release_it(path):
    with take(path):
        with take(path):
            pass
        assert path.exists()


@pytest.mark.parametrize("known", [DEAD, {**DEAD, "born": None}, {**DEAD, "pid": -1}])
def test_that_of_a_dead_process_is_taken_over_with_a_sentence(path, known):
    said = []
    leave(path, known)
    with take(path, said.append):
        assert json.loads(path.read_text())["key"] != "dead"
    assert len(said) == 1
    assert f"process {known['pid']} on" in said[0]
    assert "taken over" in said[0]
    assert names(path) == []


def test_of_another_machine_the_silence_counts(path):
    leave(path, ELSEWHERE, ago=QUIET_SECONDS - 60)
    with pytest.raises(
        TakenError, match=r"heard of 5\d\d s ago: .*delete .*again in 60"
    ):
        take(path).__enter__()
    leave(path, ELSEWHERE, ago=-60)  # its clock is ahead
    with pytest.raises(TakenError):
        take(path).__enter__()
    leave(path, ELSEWHERE, ago=QUIET_SECONDS + 60)
    with take(path, lambda sentence: None):
        pass


def test_a_job_that_slurm_starts_again_goes_on_at_once(path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    leave(path, ELSEWHERE | process.slurm_start())
    with pytest.raises(TakenError):
        take(path).__enter__()  # another node of the same start
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with take(path, lambda sentence: None):
        assert json.loads(path.read_text())["slurm_restarts"] == "1"


@pytest.mark.parametrize("text", ["", "[1]", '{"pid": 1}', "\xff", "[" * 5000, "NaN"])
def test_a_file_that_names_nobody_is_believed_for_a_moment(path, text):
    leave(path, text)
    with pytest.raises(TakenError, match="does not name"):
        take(path).__enter__()
    leave(path, text, ago=60)
    with take(path, lambda sentence: None):
        pass


def make_link(path):
    (path.parent / "target").write_text("precious")
    path.symlink_to("target")


@pytest.mark.parametrize(
    "make",
    [
        make_link,
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path),
        lambda path: path.write_bytes(b"x" * 20_000),
    ],
    ids=["link", "dangling", "folder", "pipe", "large"],
)
def test_what_is_no_lock_is_never_followed_nor_replaced(path, make):
    path.parent.mkdir()
    make(path)
    with pytest.raises(UserError, match=r"\.lock.*remove it"):
        take(path).__enter__()
    assert os.path.lexists(path)
    assert not (path.parent / "nowhere").exists()
    if (path.parent / "target").exists():
        assert (path.parent / "target").read_text() == "precious"
    assert not list(path.parent.glob("*.new"))


def test_a_file_that_cannot_be_read_is_nobodys_death(path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output error", str(path))

    leave(path, DEAD)
    monkeypatch.setattr(module, "open_regular", fail)
    with pytest.raises(UserError, match="Input/output error"):
        take(path).__enter__()
    assert names(path) == [LOCK]


def remove(path):
    path.unlink()


def replace(path):
    path.write_text(json.dumps(ELSEWHERE))


def move(path):
    path.parent.rename(path.parent.with_name("moved"))


@pytest.mark.parametrize("lose", [remove, replace, move])
def test_a_lock_that_is_lost_is_noticed_and_left_alone(path, lose):
    with take(path) as lock:
        lose(path)
        after = path.read_bytes() if path.exists() else None
        lock.check()  # too early to look again
        with pytest.raises(LostError, match="nothing more is written"):
            lock.check(every=0)
    assert (path.read_bytes() if path.exists() else None) == after


def test_it_is_touched_while_it_is_held(path, monkeypatch):
    monkeypatch.setattr(module, "TOUCH_SECONDS", 0.01)
    with take(path):
        os.utime(path, (1, 1))
        end = time.monotonic() + 10
        while path.stat().st_mtime == 1:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_fork_does_not_release_it(path):
    with take(path) as lock:
        lock._owner = (-5, lock._owner[1])  # as if this were the child
        lock.release()
        assert path.exists()


# Races, each at its worst moment ------------------------------------------------------


def test_who_is_slow_to_take_over_does_not_remove_the_lock_of_the_fast(
    path, monkeypatch
):
    """A second starter is through with it after the first has judged."""
    leave(path, DEAD)
    fast, replace = [], module._replace

    def slowly(new, there, dead):
        if not fast:
            fast.append(None)
            thread = threading.Thread(target=hold)
            thread.start()
            started.wait(10)
            fast[0] = thread
        return replace(new, there, dead)

    def hold():
        with take(path, lambda sentence: None):
            started.set()
            ended.wait(10)

    started, ended = threading.Event(), threading.Event()
    monkeypatch.setattr(module, "_replace", slowly)
    with pytest.raises(TakenError):
        take(path).__enter__()
    assert path.exists()
    ended.set()
    fast[0].join()
    assert names(path) == []


def test_a_process_that_died_while_it_took_over_is_no_obstacle(path):
    leave(path, DEAD)
    guard = path.with_name(f"{LOCK}.{module._read(path).key}")
    leave(guard, DEAD | {"key": "died early"})
    said = []
    with take(path, said.append):
        assert names(path) == [LOCK]
    assert len(said) == 1


def test_a_living_guard_is_waited_for(path, other, monkeypatch):
    monkeypatch.setattr(module, "_GUARD_SECONDS", 0.05)
    leave(path, DEAD)
    guard = path.with_name(f"{LOCK}.{module._read(path).key}")
    leave(guard, other)
    with pytest.raises(TakenError):
        take(path).__enter__()
    assert json.loads(path.read_text())["key"] == "dead"


def test_a_network_that_answers_twice(path, monkeypatch):
    """The first answer to link(2) is lost, and the second says that the name exists."""
    link = os.link

    def twice(source, target):
        link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", twice)
    with take(path):
        assert holder(path)["pid"] == os.getpid()


def test_a_network_that_does_not_show_it_yet(path, monkeypatch):
    """The name is taken, and what was read a moment ago says that it is free."""
    monkeypatch.setattr(module, "_GUARD_SECONDS", 0.05)
    leave(path, ELSEWHERE)
    monkeypatch.setattr(module, "_read", lambda path: None)
    with pytest.raises(TakenError, match="another process"):
        take(path).__enter__()
    assert names(path) == [LOCK]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_a_file_system_without_hard_links(path, monkeypatch, number):
    def fail(source, target):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", fail)
    with take(path):
        assert holder(path)["pid"] == os.getpid()
    leave(path, DEAD)
    with take(path, lambda sentence: None):
        assert holder(path)["pid"] == os.getpid()
    assert names(path) == []


def test_what_killed_starters_left_is_removed(path):
    leave(path, DEAD)
    old, fresh = f"{LOCK}-12.new", f"{LOCK}-13.new"
    for name, ago in ((old, 2 * QUIET_SECONDS), (fresh, 1.0), ("mine.lock-1.new", 1e9)):
        leave(path.with_name(name), "{}", ago)
    with take(path, lambda sentence: None):
        assert names(path) == [LOCK, fresh, "mine.lock-1.new"]


def race(folder, seconds, number):
    """Starts processes that take a lock, and die with it, again and again."""
    folder.mkdir()
    end, deaths = time.monotonic() + seconds, collections.Counter()
    command = [sys.executable, "-c", DYING, str(folder)]
    running = []
    while time.monotonic() < end or running:
        if time.monotonic() < end and len(running) < number:
            running.append(subprocess.Popen(command, cwd=ROOT))
        for child in list(running):
            if child.poll() is not None:
                running.remove(child)
                deaths[child.returncode] += 1
        time.sleep(0.01)
    return deaths


# Ends with the lock in its hands, as who is killed, or is refused.
DYING = """
import os, sys, time
from pathlib import Path
from cnnjax.lock import TakenError, locked
folder, end = Path(sys.argv[1]), time.time() + 2
while time.time() < end:
    try:
        with locked(folder / ".lock", "in use", say=lambda words: None):
            handle = os.open(folder / "alone", os.O_CREAT | os.O_EXCL)
            time.sleep(0.001)
            os.unlink(folder / "alone")
            os._exit(7)
    except TakenError:
        pass
"""


@pytest.mark.slow
def test_a_race_of_processes_that_die_with_it(tmp_path):
    """Starters wait in a loop; each holder dies with the lock, which one inherits."""
    deaths = race(tmp_path / "race", 15, 6)
    assert set(deaths) <= {0, 7}, deaths
    assert deaths[7] > 20


@pytest.mark.slow
def test_three_starters_over_a_dead_lock(path):
    """Five hundred times: one gets it, two are refused."""

    def start(barrier, end, ends):
        barrier.wait()
        try:
            with take(path, lambda sentence: None):
                ends.put("got it")
                end.wait(10)
        except TakenError:
            ends.put("refused")

    for _ in range(500):
        leave(path, DEAD)
        shared = threading.Barrier(3), threading.Event(), queue.Queue()
        threads = [threading.Thread(target=start, args=shared) for _ in range(3)]
        for thread in threads:
            thread.start()
        ends = sorted(shared[2].get(timeout=10) for _ in threads)
        assert ends == ["got it", "refused", "refused"]
        shared[1].set()
        for thread in threads:
            thread.join()
        assert names(path) == []
