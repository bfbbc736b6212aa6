import pytest

from tests.ablation.execute.slurm import CannotStart, Slurm


@pytest.fixture(scope="session")
def slurm():
    """A SLURM cluster on this machine."""
    try:
        daemons = Slurm().__enter__()
    except CannotStart as reason:
        pytest.skip(f"no SLURM: {reason}")
    yield daemons
    daemons.close()
