import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from cnnjax.errors import UserError
from cnnjax.run.checkpoints import packing
from cnnjax.run.checkpoints.manager import Checkpoints


@flax.struct.dataclass
class State:
    step: jax.Array
    params: dict
    opt_state: tuple
    ema: dict | None


def make_state(step, width=16):
    params = {
        "conv": {"kernel": jnp.full((5, 3, width), step, jnp.float32)},
        "head": {"kernel": jnp.full((5, width), step, jnp.bfloat16)},
        "empty": jnp.zeros((5, 0)),
    }
    momentum = optax.sgd(0.1, momentum=0.9).init(params)
    return State(jnp.full((5,), step, jnp.int32), params, momentum, ema=None)


def assert_same(tree, expected):
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for got, want in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


def save_steps(directory, steps, **more):
    with Checkpoints(directory, keep_last=len(steps), **more) as checkpoints:
        for step in steps:
            checkpoints.save(step, make_state(step), {"step": step})


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoints")
    save_steps(directory, [10, 20])
    return directory


@pytest.mark.parametrize("abstract", [False, True])
def test_round_trip(two_steps, abstract):
    example = make_state(0)
    if abstract:
        example = jax.eval_shape(lambda: example)
    with Checkpoints(two_steps, keep_last=2) as checkpoints:
        step, state, metadata = checkpoints.restore_latest(example)
    assert (step, metadata) == (20, {"step": 20})
    assert_same(state, make_state(20))


def test_metadata_may_hold_nan_and_array_scalars(tmp_path):
    with Checkpoints(tmp_path, keep_last=1) as checkpoints:
        checkpoints.save(1, make_state(1), {"best": np.float32(0.5), "loss": jnp.nan})
        _, _, metadata = checkpoints.restore_latest(make_state(0))
    assert metadata["best"] == 0.5
    assert np.isnan(metadata["loss"])


def test_empty_folder_has_nothing(tmp_path):
    with Checkpoints(tmp_path / "new", keep_last=1) as checkpoints:
        assert checkpoints.restore_latest(make_state(0)) is None
        assert checkpoints.latest_step() is None


def test_a_relative_folder_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_steps("here", [1])
    assert Path(tmp_path, "here", "1").is_dir()


def test_keeps_the_last_ones(tmp_path):
    with Checkpoints(tmp_path, keep_last=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, make_state(step), {})
        checkpoints.wait()
        assert checkpoints.steps() == [2, 3]


def test_newest_and_best_live_apart(tmp_path):
    with (
        Checkpoints(tmp_path / "newest", keep_last=1) as newest,
        Checkpoints(tmp_path / "best", keep_last=1) as best,
    ):
        for step in (1, 2, 3):
            newest.save(step, make_state(step), {})
            if step == 2:
                best.save(step, make_state(step), {})
        newest.wait()
        assert (newest.steps(), best.steps()) == ([3], [2])


@pytest.mark.parametrize("step", [10, 20])
def test_saving_an_existing_or_earlier_step_is_refused(two_steps, step):
    with (
        Checkpoints(two_steps, keep_last=2) as checkpoints,
        pytest.raises(ValueError, match="step 20 is there already"),
    ):
        checkpoints.save(step, make_state(step), {})


def test_later_steps_are_set_aside_and_can_be_saved_again(tmp_path):
    save_steps(tmp_path, [1, 2, 3])
    with Checkpoints(tmp_path, keep_last=3) as checkpoints:
        checkpoints.set_aside_after(1)
        assert checkpoints.steps() == [1]
        checkpoints.save(2, make_state(22), {})
        step, state, _ = checkpoints.restore_latest(make_state(0))
    assert step == 2
    assert_same(state, make_state(22))


def test_what_happens_to_the_buffers_after_save_does_not_matter(tmp_path):
    donating = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
    leaf = np.arange(10**6, dtype=np.float32)
    with Checkpoints(tmp_path, keep_last=1) as checkpoints:
        tree = {"host": leaf.copy(), "device": jnp.asarray(leaf)}
        checkpoints.save(1, tree, {})
        tree["host"][:] = -1
        tree["device"] = donating(tree["device"])
        _, restored, _ = checkpoints.restore_latest(tree)
    assert_same(restored, {"host": leaf, "device": jnp.asarray(leaf)})


@pytest.mark.parametrize("num_devices", [1, 2, 8])
def test_another_number_of_devices(tmp_path, num_devices):
    def spread(num):
        mesh = jax.make_mesh((num,), ("data",), devices=jax.devices()[:num])
        return NamedSharding(mesh, PartitionSpec("data"))

    values = jnp.arange(16.0).reshape(8, 2)
    with Checkpoints(tmp_path, keep_last=1) as checkpoints:
        checkpoints.save(1, {"x": jax.device_put(values, spread(4))}, {})
        wanted = jax.ShapeDtypeStruct(
            (8, 2), values.dtype, sharding=spread(num_devices)
        )
        _, tree, _ = checkpoints.restore_latest({"x": wanted})
    assert len(tree["x"].sharding.device_set) == num_devices
    assert_same(tree, {"x": values})


@pytest.mark.parametrize("saved_apart", [False, True])
@pytest.mark.parametrize("wanted_apart", [False, True])
def test_leaves_spread_over_hosts(tmp_path, monkeypatch, saved_apart, wanted_apart):
    """One process stands in for several: only `_is_local` can tell the difference."""
    mesh = jax.make_mesh((8,), ("data",))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    tree = {"x": jax.device_put(jnp.arange(16.0), sharding), "step": np.array(3)}

    def apart_if(apart):
        monkeypatch.setattr(
            packing,
            "_is_local",
            lambda leaf: not (apart and isinstance(leaf, jax.Array)),
        )

    with Checkpoints(tmp_path, keep_last=1) as checkpoints:
        apart_if(saved_apart)
        checkpoints.save(1, tree, {})
        apart_if(wanted_apart)
        _, restored, _ = checkpoints.restore_latest(tree)
    assert_same(restored, tree)
    assert restored["x"].sharding == sharding


def test_another_structure_names_the_first_differences(two_steps):
    with Checkpoints(two_steps, keep_last=2) as checkpoints:
        with pytest.raises(UserError) as caught:
            checkpoints.restore_latest(make_state(0, width=8))
        message = str(caught.value)
        assert "params.conv.kernel is float32[5, 3, 16] there and float32[5, 3, 8]" in (
            message
        )
        assert "and 1 more" in message
        other = make_state(0)
        other.params["head"]["bias"] = other.params["head"].pop("kernel")
        with pytest.raises(UserError, match=r"params\.head\.bias is missing there"):
            checkpoints.restore_latest(other)
        # A refusal by the caller comes before any comparison of leaves.
        with pytest.raises(UserError, match="not this run"):
            checkpoints.restore_latest(make_state(0, width=8), accept=refuse)


def refuse(metadata):
    assert metadata == {"step": 20}
    raise UserError("not this run")


def test_read_only_creates_and_cleans_nothing(two_steps, tmp_path):
    with pytest.raises(UserError, match="there is no checkpoint folder"):
        Checkpoints(tmp_path / "missing", keep_last=None)
    assert not (tmp_path / "missing").exists()
    copy = shutil.copytree(two_steps, tmp_path / "copy")
    (copy / "30.orbax-checkpoint-tmp").mkdir()
    with Checkpoints(copy, keep_last=None) as checkpoints:
        assert checkpoints.restore_latest(make_state(0))[0] == 20
    assert (copy / "30.orbax-checkpoint-tmp").exists()


def test_leftovers_of_a_killed_save_are_removed(two_steps, tmp_path):
    copy = shutil.copytree(two_steps, tmp_path / "copy")
    (copy / "30.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    with Checkpoints(copy, keep_last=2) as checkpoints:
        assert checkpoints.steps() == [10, 20]
    assert sorted(os.listdir(copy)) == ["10", "20"]


def _garble(path):
    path.write_bytes(random.Random(0).randbytes(path.stat().st_size))


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "deleted": Path.unlink,
    "emptied": lambda path: os.truncate(path, 0),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "garbled": _garble,
    "one bit flipped": _flip,
}


def contents(folder):
    """Relative name -> bytes of all files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_newest_is_skipped_or_whole(two_steps, tmp_path, damage):
    """Whichever file is damaged: exactly step 20, or a warning and exactly step 10."""
    restored = set()
    files = [p.relative_to(two_steps) for p in sorted(two_steps.glob("20/**/*"))]
    for number, file in enumerate(files):
        if (two_steps / file).is_dir():
            continue
        copy = shutil.copytree(two_steps, tmp_path / str(number))
        DAMAGES[damage](copy / file)
        warnings = []
        with Checkpoints(copy, keep_last=2, warn=warnings.append) as checkpoints:
            step, state, metadata = checkpoints.restore_latest(make_state(0))
            assert metadata == {"step": step}
            assert_same(state, make_state(step))
            assert len(warnings) == (step == 10)
            assert all("20 is damaged" in w and "\n" not in w for w in warnings)
            left = contents(copy / "20")
            checkpoints.set_aside_after(step)
            checkpoints.save(30, make_state(30), {})
        if step == 10:
            (aside,) = (copy / "damaged").iterdir()
            assert aside.name.startswith("20-")
            assert str(aside) in warnings[-1]
            assert contents(aside) == left
        restored.add(step)
    assert 10 in restored


def test_nothing_whole_is_nothing_with_warnings(two_steps, tmp_path):
    copy = shutil.copytree(two_steps, tmp_path / "copy")
    for file in copy.glob("*/record/metadata"):
        file.unlink()
    warnings = []
    with Checkpoints(copy, keep_last=2, warn=warnings.append) as checkpoints:
        assert checkpoints.restore_latest(make_state(0)) is None
    assert len(warnings) == 2


def test_a_checkpoint_is_never_unpickled(two_steps, tmp_path, monkeypatch):
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", pytest.fail)
    with Checkpoints(two_steps, keep_last=2) as checkpoints:
        assert checkpoints.restore_latest(make_state(0))[0] == 20


# A limit on file sizes fails in the background thread, just as a full disk does.
FULL = """
import resource, signal, sys
import numpy as np
from cnnjax.errors import UserError
from cnnjax.run.checkpoints.manager import Checkpoints
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Checkpoints(sys.argv[1], keep_last=3) as checkpoints:
    checkpoints.save(1, {"x": np.zeros(100)}, {})
    checkpoints.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        checkpoints.save(2, {"x": np.random.default_rng(0).random(10**5)}, {})
        checkpoints.wait()
    except UserError as error:
        print("refused:", error)
    checkpoints.save(3, {"x": np.ones(100)}, {})
"""


def test_full_disk_is_one_sentence_and_loses_nothing(tmp_path):
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith(f"refused: cannot write {tmp_path}: File too large")
    # No page of tracebacks from the background threads.
    assert (done.stdout.count("\n"), done.stderr, done.returncode) == (1, "", 0)
    assert sorted(os.listdir(tmp_path)) == ["1", "3"]


ENDLESS = """
import sys
import numpy as np
from cnnjax.run.checkpoints.manager import Checkpoints
with Checkpoints(sys.argv[1], keep_last=2) as checkpoints:
    start = checkpoints.latest_step() or 0
    for step in range(start + 1, 10**6):
        tree = {"a": np.full(10**6, step), "b": np.full((3, 3), step)}
        checkpoints.save(step, tree, {"step": step})
        print(step, flush=True)
"""


def test_kill_during_a_save_leaves_a_whole_checkpoint(tmp_path):
    example = {"a": np.zeros(10**6, int), "b": np.zeros((3, 3), int)}
    seen = 0
    for delay in (0.0, 0.005, 0.03):
        command = [sys.executable, "-c", ENDLESS, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            started = [int(child.stdout.readline()) for _ in range(3)][-1]
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
        warnings = []
        with Checkpoints(tmp_path, keep_last=2, warn=warnings.append) as checkpoints:
            step, tree, metadata = checkpoints.restore_latest(example)
            leftovers = [name for name in os.listdir(tmp_path) if "tmp" in name]
        assert step >= started - 1 > seen
        assert (metadata, warnings, leftovers) == ({"step": step}, [], [])
        assert all((leaf == step).all() for leaf in tree.values())
        seen = step


def test_runs_side_by_side_do_not_disturb_each_other(tmp_path):
    """Orbax alone loses folders here: see the lock in checkpoint.py."""
    tree = {f"leaf{i}": np.full((4, 50), i, np.float32) for i in range(30)}

    def run(name):
        with Checkpoints(tmp_path / name, keep_last=2) as checkpoints:
            for step in range(1, 6):
                checkpoints.save(step, tree, {"name": name})
            checkpoints.wait()
            return checkpoints.restore_latest(tree)

    with ThreadPoolExecutor(3) as pool:
        restored = dict(zip("abc", pool.map(run, "abc"), strict=True))
    for name, (step, saved, metadata) in restored.items():
        assert (step, metadata) == (5, {"name": name})
        np.testing.assert_array_equal(saved["leaf7"], tree["leaf7"])
