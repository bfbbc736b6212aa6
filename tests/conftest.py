"""Settings of every test; environment variables, because JAX reads them on import."""

import os

import pytest
from programs import Programs

# Eight emulated devices, so that everything parallel is tested on any machine.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
os.environ["JAX_PLATFORMS"] = os.environ.get("CNNJAX_TEST_PLATFORM", "cpu")
# A forgotten axis must fail, not broadcast.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
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


@pytest.fixture(scope="session")
def compiled_before(tmp_path_factory):
    """Variables by which programs share what they compile: most of their time."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
