import pytest

from tests.ablation.synthetic_sweep import write_sweep


@pytest.fixture
def sweep_dir(tmp_path):
    """Folder of a finished sweep at scale 'laptop', with made-up numbers."""
    return write_sweep(tmp_path / "laptop")
