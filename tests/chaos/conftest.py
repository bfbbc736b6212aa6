import pytest

from tests.chaos.faults import CannotBuild, Faults
from tests.chaos.training import TRAIN
from tests.programs import Programs, keeping_programs
from tests.run.test_interruption import finish, numbers


@pytest.fixture(scope="session")
def faults(tmp_path_factory):
    """Faults of the machine for the programs of `faulty`."""
    try:
        return Faults(tmp_path_factory.mktemp("faults"))
    except CannotBuild as reason:
        pytest.skip(f"no faults: {reason}")


@pytest.fixture(autouse=True)
def mended(request):
    """Every test starts on a machine that works."""
    if "faults" in request.fixturenames:
        request.getfixturevalue("faults").none()


@pytest.fixture(scope="session")
def faulty(faults, tmp_path_factory):
    """Starts programs on the machine that fails."""
    kept = keeping_programs(tmp_path_factory.mktemp("compiled"))
    server = Programs(**faults.variables, **kept)
    yield server
    server.close()


@pytest.fixture(scope="session")
def whole(faults, faulty, tmp_path_factory):
    """The numbers of a training on a machine that works."""
    faults.none()
    here = tmp_path_factory.mktemp("whole")
    finish(faulty, here, *TRAIN)
    return numbers(here / "run")
