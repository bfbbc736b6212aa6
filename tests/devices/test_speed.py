"""The speed of the machine is measured once."""

import pytest

from cnnjax.devices import speed
from cnnjax.devices.speed import Speed, machine_speed


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """How often it was measured."""
    calls = []
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(speed, "training_rate", lambda: calls.append(1) or 1e9)
    monkeypatch.setattr(speed, "_narrow_net", lambda: (1e-4, 0.5))
    return calls


def test_it_is_kept_for_this_processor(measured):
    for _ in range(2):
        assert machine_speed("this") == Speed(1e9, 1e-4, 0.5)
    assert len(measured) == 1
    machine_speed("another")
    assert len(measured) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": "x"}', "0" * 20_000])
def test_what_cannot_be_read_is_measured_again(measured, tmp_path, text):
    machine_speed("this")
    (tmp_path / "speed" / "speed.json").write_text(text)
    assert machine_speed("this").rate == 1e9
    assert len(measured) == 2


def test_without_a_cache(measured, monkeypatch):
    monkeypatch.setenv("CNNJAX_CACHE_DIR", "")
    machine_speed("this")
    machine_speed("this")
    assert len(measured) == 2


def test_equal_blocks_are_compiled_once(measured):
    assert machine_speed("this").start_seconds(16) == pytest.approx(2.0)
