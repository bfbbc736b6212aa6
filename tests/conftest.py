"""Settings of every test; environment variables, because JAX reads them on import."""

import os

import pytest
from programs import Programs

# Eight emulated devices, so that everything parallel is tested on any machine.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
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
