"""Settings of every test; environment variables, because JAX reads them on import."""

import os

import pytest

from tests.programs import Programs

# Eight emulated devices, so that everything parallel is tested on any machine.
# Compiling is most of what the tests do, and most of that is LLVM making code fast that
# runs once. The programs that tests start are compiled like any other.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true",
)
os.environ["JAX_PLATFORMS"] = os.environ.get("CNNJAX_TEST_PLATFORM", "cpu")
# A forgotten axis must fail, not broadcast.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
# Nothing is read from or left in the user's cache of compiled programs.
os.environ["CNNJAX_CACHE_DIR"] = ""
# Plots are drawn without a screen.
os.environ.setdefault("MPLBACKEND", "agg")


@pytest.fixture(scope="session")
def programs():
    """Starts programs of experiments/ quickly, see programs.py."""
    server = Programs()
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
