"""Settings of every test; environment variables, because JAX reads them on import."""

import gc
import os
import tempfile

import pytest

from tests.programs import QUICK_TO_COMPILE, Programs, keeping_programs

# Eight emulated devices, so that everything parallel is tested on any machine.
os.environ.setdefault(
    "XLA_FLAGS", f"--xla_force_host_platform_device_count=8 {QUICK_TO_COMPILE}"
)
os.environ["JAX_PLATFORMS"] = os.environ.get("CNNJAX_TEST_PLATFORM", "cpu")
# A forgotten axis must fail, not broadcast.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
# Nothing is read from or left in the user's cache of compiled programs.
os.environ["CNNJAX_CACHE_DIR"] = ""
# The library is not compared with XLA again by every test that has a cache.
os.environ.setdefault("CNNJAX_ONEDNN", "force")
# Plots are drawn without a screen.
os.environ.setdefault("MPLBACKEND", "agg")
# Python's collector would walk again and again over all modules and traced programs.
gc.set_threshold(100_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def kept_programs(request, tmp_path_factory):
    """Tests that compile the same program do it once, in whichever process they are.

    What is compiled stays in pytest's own cache, for the next time (--cache-clear).
    """
    from cnnjax.cache import VARIABLE
    from cnnjax.devices.compile_cache import use_compile_cache

    try:
        folder = request.config.cache.mkdir("cnnjax")
    except (AttributeError, OSError):  # switched off, or nothing can be written there
        folder = tmp_path_factory.mktemp("cnnjax")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder))
        use_compile_cache()


@pytest.fixture(scope="session")
def programs():
    """Starts programs of experiments/ quickly, see programs.py."""
    with tempfile.TemporaryDirectory() as folder:
        server = Programs(**keeping_programs(folder))
        yield server
        server.close()


@pytest.fixture
def here(tmp_path):
    """The folder where a program is started."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def pytest_addoption(parser):
    parser.addoption(
        "--rewrite-goldens",
        action="store_true",
        help="write tests/golden/ anew; see tests/test_goldens.py for when to do so",
    )
    parser.addoption("--against", help="commit for tests/test_smoke_numbers.py")


# They wait for programs that they start: last, they would run beside nothing.
FIRST = ("test_interruption", "test_processes", "test_slurm", "test_wrong_files")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in FIRST)
    gc.freeze()  # modules and collected tests stay
