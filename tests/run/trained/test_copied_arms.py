"""The cell of an arm that was copied to the place of another is not its net."""

import shutil

import pytest

from cnnjax import load_run
from cnnjax.errors import UserError
from cnnjax.records import write_json
from tests.run.tiny import fit, tiny_run


def test_a_copied_arm(tmp_path):
    fit(tiny_run(), tmp_path / "average", name="average")
    shutil.copytree(tmp_path / "average", tmp_path / "linear")
    assert load_run(tmp_path / "linear", "last").seed == 0  # two trainings
    write_json(tmp_path / "plan.json", {"arms": [{"name": "average"}]})
    assert load_run(tmp_path / "average", "last").arm == "average"
    with pytest.raises(
        UserError, match=r"linear is not of this run \(arm average, not linear"
    ):
        load_run(tmp_path / "linear", "last")
