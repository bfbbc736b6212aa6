"""What runs of one process share: made once, waited for, dropped after the last."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from cnnjax.devices.parallel import compiler_options
from cnnjax.run.shared import Shared


class Value:
    """Something that a weak reference can point to."""


def test_the_second_waits_for_the_first():
    shared, made, started = Shared(["a", "a", "b"]), [], threading.Event()
    release = threading.Event()

    def make():
        started.set()
        assert release.wait(10)
        made.append(Value())
        return made[-1]

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(shared.get, "a", make)
        assert started.wait(10)
        second = pool.submit(shared.get, "a", make)
        # Another key is made meanwhile.
        other = shared.get("b", Value)
        assert not second.done()
        release.set()
        assert first.result() is second.result() is made[0]
    assert len(made) == 1
    assert other is not made[0]


def test_a_value_lives_until_the_last_is_done():
    shared = Shared(["a", "a"])
    seen = weakref.ref(shared.get("a", Value))
    gc.collect()
    shared.done(["a"])
    assert shared.get("a", Value) is seen()
    shared.done(["a"])
    gc.collect()
    assert seen() is None


def test_what_nobody_else_needs_is_not_kept():
    shared = Shared()
    assert shared.get("a", Value) is not shared.get("a", Value)


def test_after_a_failure_the_next_tries_again():
    shared = Shared(["a", "a"])
    with pytest.raises(ZeroDivisionError):
        shared.get("a", lambda: 1 / 0)
    assert shared.get("a", lambda: 7) == 7


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_determinism_is_an_option_on_gpus_alone(platform):
    asked = compiler_options(platform, deterministic=True)
    assert asked == ({"xla_gpu_deterministic_ops": True} if platform == "gpu" else {})
    assert compiler_options(platform, deterministic=False) == {}
