"""New keys do not change runs that are older than the key."""

import json

import pytest

from cnnjax.config import BEFORE, differences, digest, flatten, override, to_dict
from cnnjax.run.setup import set_up
from cnnjax.run.single import stored_config
from configs import base
from tests.run.tiny import tiny_run


@pytest.mark.parametrize("key", BEFORE)
def test_a_run_from_before_a_key_existed_is_the_same_run(tmp_path, key):
    run = tiny_run()
    older = to_dict(run.config)
    section, name = key.split(".")
    del older[section][name]
    override(run.config, {key: BEFORE[key]})
    assert digest(older) == digest(run.config)
    assert differences(older, run.config, ignore=()) == []
    path = tmp_path / "config.json"
    path.write_text(json.dumps(older))
    assert flatten(stored_config(path))[key] == BEFORE[key]
    set_up(stored_config(path))


def test_another_value_of_a_key_that_came_later_is_another_run():
    old, new = to_dict(base.get_config()), base.get_config()
    del old["data"]["channels"]
    new.data.channels = 3
    assert digest(new) != digest(old)
    assert differences(old, new) == ["data.channels: 0 -> 3"]
