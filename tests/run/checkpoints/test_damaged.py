"""Paths with any characters, and what the system does not let be read."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped
from cnnjax.run.checkpoints.manager import Checkpoints
from cnnjax.run.checkpoints.plain_path import PlainPath
from tests.run.tiny import fit, tiny_run
from tests.slow import slow_but

TREE = {"a": np.arange(6.0), "b": np.ones((2, 3), np.int32)}
NAMES = [
    "run [1]",
    "[!a-z]*",
    "back\\slash",
    "\\",
    "what?",
    "{a,b}",
    "100%20",
    "new\nline",
    'it\'s "quoted"',
    "dot.",
    "grün-実験",
    "#1",
    "file:",
    "gs:",
    "not UTF-8 \udcff",
    "$HOME",
    "~",
]


def open_to_all(folder):
    """Lets every user reach a folder below that for temporary files."""
    for parent in [folder, *folder.parents]:
        if parent == Path(tempfile.gettempdir()):
            return
        parent.chmod(0o755)


def contents(folder):
    """Relative name -> bytes of all files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "checkpoints"
    with Checkpoints(folder, keep_last=2) as checkpoints:
        checkpoints.save(1, TREE, {"step": 1})
        checkpoints.save(2, TREE, {"step": 2})
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_any_path_is_written_and_read(tmp_path, monkeypatch, name):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder, warnings = tmp_path / name / "checkpoints", []
    with Checkpoints(folder, keep_last=2, warn=warnings.append) as checkpoints:
        checkpoints.save(1, TREE, {"step": 1})
        checkpoints.save(2, TREE, {"step": 2})
        checkpoints.wait()
    before = contents(folder)
    with Checkpoints(folder, keep_last=2, warn=warnings.append) as checkpoints:
        step, tree, metadata = checkpoints.restore_latest(TREE)
        checkpoints.set_aside_after(step)
    assert (step, metadata, warnings) == (2, {"step": 2}, [])
    np.testing.assert_array_equal(tree["a"], TREE["a"])
    assert contents(folder) == before
    # Nothing is left of the link by which the libraries know the folder.
    assert os.listdir(tmp_path) == [name]


def test_what_is_written_there_is_an_ordinary_checkpoint(tmp_path):
    """Read by plain Orbax after the folder got an ordinary name."""
    with Checkpoints(tmp_path / "run [1]", keep_last=1) as checkpoints:
        checkpoints.save(1, TREE, {})
    (tmp_path / "run [1]").rename(tmp_path / "run")
    saved = ocp.PyTreeCheckpointer().restore(tmp_path / "run" / "1" / "state")
    expected = b"".join(leaf.tobytes() for leaf in TREE.values())
    assert np.asarray(saved["packed"]).tobytes() == expected


def test_a_run_that_was_moved_into_such_a_folder(two_steps, tmp_path):
    folder = shutil.copytree(two_steps, tmp_path / "a\\b [old]" / "checkpoints")
    with Checkpoints(folder, keep_last=None) as checkpoints:
        assert checkpoints.restore_latest(TREE)[0] == 2


@pytest.mark.slow
def test_a_training_resumes_in_such_a_folder(tmp_path):
    run = tiny_run()
    with pytest.raises(Stopped):
        fit(run, tmp_path / "runs [2026]\\x", stop_at=3)
    done = fit(run, tmp_path / "runs [2026]\\x")
    assert (done.shown.first_step, done.warnings) == (3, [])


def test_no_folder_for_the_link(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"'.*run \[1\]' .*No such file.*TMPDIR"):
        Checkpoints(tmp_path / "run [1]", keep_last=1)
    (tmp_path / "[tmp]").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "[tmp]"))
    with pytest.raises(UserError, match=r"special characters too.*TMPDIR"):
        Checkpoints(tmp_path / "run [1]", keep_last=1)
    assert os.listdir(tmp_path / "[tmp]") == []


UNREADABLE = {
    # Real errors of the system: EIO and ELOOP.
    "Input/output error": "/proc/self/mem",
    "Too many levels of symbolic links": "metadata",
}


@pytest.mark.parametrize("reason", UNREADABLE)
@pytest.mark.parametrize("file", ["record/metadata", "state/manifest.ocdbt"])
def test_a_read_error_is_no_damage(two_steps, tmp_path, reason, file):
    target = UNREADABLE[reason]
    if target.startswith("/proc") and not os.path.exists(target):
        pytest.skip("no /proc here")
    folder = shutil.copytree(two_steps, tmp_path / "checkpoints")
    path = folder / "2" / file
    path.unlink()
    path.symlink_to(path.name if target == "metadata" else target)
    with (
        pytest.raises(UserError, match=f"checkpoint {folder}/2: {reason}") as said,
        Checkpoints(folder, keep_last=2, warn=pytest.fail) as checkpoints,
    ):
        checkpoints.restore_latest(TREE)
    assert "\n" not in str(said.value)
    assert sorted(os.listdir(folder)) == ["1", "2"]


@pytest.mark.parametrize("kind", ["pipe", "device", "large", "link", "folder"])
def test_what_is_no_file_is_damage_and_never_opened(two_steps, tmp_path, kind):
    files = [p.relative_to(two_steps) for p in two_steps.rglob("*") if p.is_file()]
    whole = 0
    for number, file in enumerate(f for f in files if "2" in f.parts):
        folder, warned = tmp_path / str(number), []
        shutil.copytree(two_steps, folder)
        path = folder / file
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "large":
            path.touch()
            os.truncate(path, 2**42)
        else:
            path.symlink_to("/dev/zero" if kind == "device" else "gone")
        with Checkpoints(folder, keep_last=2, warn=warned.append) as checkpoints:
            step = checkpoints.restore_latest(TREE)[0]
            checkpoints.set_aside_after(step)
        assert bool(warned) == (step == 1)
        whole += step == 2
        assert kind not in ("pipe", "device") or step == 1
    assert whole < number


def test_what_is_no_file_is_not_opened_to_read_either(two_steps, tmp_path):
    folder = shutil.copytree(two_steps, tmp_path / "checkpoints")
    (folder / "2" / "_CHECKPOINT_METADATA").unlink()
    os.mkfifo(folder / "2" / "_CHECKPOINT_METADATA")
    with pytest.raises(UserError, match=r"2 cannot be read, because .* is no file"):
        Checkpoints(folder, keep_last=None)
    assert sorted(os.listdir(folder)) == ["1", "2"]


def test_links_to_files_are_read_and_never_written(two_steps, tmp_path):
    elsewhere = shutil.copytree(two_steps, tmp_path / "elsewhere")
    folder = tmp_path / "checkpoints"
    for file in (p for p in elsewhere.rglob("*") if p.is_file()):
        (folder / file.relative_to(elsewhere)).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.relative_to(elsewhere)).symlink_to(file)
    before = contents(elsewhere)
    with Checkpoints(folder, keep_last=1, warn=pytest.fail) as checkpoints:
        assert checkpoints.restore_latest(TREE)[0] == 2
        checkpoints.save(3, TREE, {})
        checkpoints.save(4, TREE, {})
    assert sorted(os.listdir(folder)) == ["4"]
    assert contents(elsewhere) == before


def test_a_checkpoint_that_is_a_link_is_only_read(two_steps, tmp_path):
    (tmp_path / "2").symlink_to(two_steps / "2")
    before = contents(two_steps)
    with Checkpoints(tmp_path, keep_last=None) as checkpoints:
        assert checkpoints.restore_latest(TREE)[0] == 2
    with pytest.raises(UserError, match=r"/2 is a link"):
        Checkpoints(tmp_path, keep_last=1)
    assert contents(two_steps) == before


UNPRIVILEGED = """
import grp, os, pwd, sys
import numpy as np
from cnnjax.errors import UserError
from cnnjax.run.checkpoints.manager import Checkpoints
if os.geteuid() == 0:
    os.setuid(65534)
try:
    with Checkpoints(sys.argv[1], keep_last=None) as checkpoints:
        checkpoints.restore_latest({"a": np.zeros(6), "b": np.ones((2, 3), np.int32)})
except UserError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.parametrize(
    "closed", slow_but(["2"], [".", "2", "2/state", "2/record/metadata"])
)
def test_what_may_not_be_read_is_one_sentence(two_steps, tmp_path, closed):
    folder = shutil.copytree(two_steps, tmp_path / "checkpoints")
    open_to_all(tmp_path)
    (folder / closed).chmod(0)
    command = [sys.executable, "-c", UNPRIVILEGED, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    (folder / closed).chmod(0o755)
    assert done.stderr.startswith("refused: cannot read "), done.stderr
    assert "Permission denied" in done.stderr
    assert done.stderr.count("\n") == 1


def test_impossible_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*/deep: .*file is a file, not"):
        Checkpoints(tmp_path / "file" / "deep", keep_last=1)


UNPRIVILEGED_WRITER = """
import os, sys
from cnnjax.errors import UserError
from cnnjax.run.checkpoints.manager import Checkpoints
if os.geteuid() == 0:
    os.setuid(65534)
try:
    Checkpoints(sys.argv[1], keep_last=1)
except UserError as error:
    sys.exit(f"refused: {error}")
"""


def test_folder_without_permission_is_one_sentence(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    # Every user must be able to reach the folder that it may not write to.
    open_to_all(tmp_path)
    command = [sys.executable, "-c", UNPRIVILEGED_WRITER, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr.startswith(f"refused: cannot write {folder}: Permission denied")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["a plain name", "grün", "run [1]", "it's \\ \""])
def test_damage_is_told_in_whole_words_without_the_folder(two_steps, tmp_path, name):
    """Libraries name folders, links and sources; the reader knows the checkpoint."""
    files = [p for p in two_steps.rglob("*") if p.is_file() and "2" in p.parts]
    above, num_damaged = tmp_path / name / ("x" * 60), 0
    for number, file in enumerate(files):
        folder, said = above / str(number), []
        shutil.copytree(two_steps, folder)
        (folder / file.relative_to(two_steps)).unlink()
        with Checkpoints(folder, keep_last=None, warn=said.append) as checkpoints:
            if checkpoints.restore_latest(TREE)[0] == 2:
                assert said == []  # a file that nobody needs
                continue
        start = f"checkpoint {folder / '2'} is damaged ("
        end = ") and skipped; the one before it is used if there is one"
        (sentence,) = said
        assert sentence.startswith(start)
        assert sentence.endswith(end)
        reason = sentence[len(start) : -len(end)]
        num_damaged += 1
        for internal in ("xxx", "cnnjax-", "source", "/d/"):
            assert internal not in reason
        assert reason.count('"') % 2 == 0
        assert len(reason) < 280
    assert num_damaged >= 4


HOLD = """
import sys, tempfile
from pathlib import Path
from cnnjax.run.checkpoints.plain_path import PlainPath
tempfile.tempdir = sys.argv[1]
held = PlainPath(Path(sys.argv[2]))
print(held.path, flush=True)
sys.stdin.read()
"""


def test_links_of_killed_processes_are_removed_and_no_others(tmp_path, monkeypatch):
    links, target = tmp_path / "links", tmp_path / "run [1]"
    links.mkdir()
    target.mkdir()
    (target / "kept").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(links))
    command = [sys.executable, "-c", HOLD, str(links), str(target)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    killed, living = (subprocess.Popen(command, **pipes) for _ in range(2))
    theirs = [Path(process.stdout.readline().strip()) for process in (killed, living)]
    killed.kill()
    killed.communicate()
    # What others made by such a name, and what a process is just making.
    (links / "cnnjax-link-file").write_text("of another program")
    (links / "cnnjax-link-other").mkdir()
    (links / "cnnjax-link-other" / "file").touch()
    (links / "cnnjax-link-new").mkdir()
    (links / "cnnjax-link-link").symlink_to(target)
    before = set(os.listdir(links))
    assert theirs[0].parent.name in before
    ours = PlainPath(target)
    assert os.listdir(ours.path) == ["kept"]
    made = ours.path.parent.name
    assert set(os.listdir(links)) == before - {theirs[0].parent.name} | {made}
    assert os.listdir(theirs[1]) == ["kept"]
    ours.close()
    living.communicate()
    assert os.listdir(links / "cnnjax-link-other") == ["file"]
    assert os.listdir(target) == ["kept"]
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    PlainPath(target).close()
    assert theirs[1].is_symlink()  # left by its process, but not of this user
