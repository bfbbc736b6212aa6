"""Signals that save, and a program that ends with the one that started it."""

import os
import signal
import threading

import pytest

from cnnjax import interrupt
from cnnjax.interrupt import (
    PARENT,
    SIGNALS,
    catching_signals,
    end_with_parent,
    lifeline,
)


@pytest.fixture(autouse=True)
def at_a_terminal():
    """The tests themselves may run under nohup."""
    old = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, old)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_one_is_a_request(number):
    with catching_signals(b"") as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.exit_code == 128 + number


def test_a_terminal_that_is_closed_may_hang_up_twice():
    with catching_signals(b"") as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.exit_code == 128 + signal.SIGHUP


def test_nohup_stays_in_force():
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catching_signals(b"") as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, old)


def test_all_are_as_they_were():
    before = [signal.getsignal(number) for number in SIGNALS]
    with catching_signals(b""):
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.fixture
def told(monkeypatch):
    """The signals that this process would have sent itself."""
    sent, came = [], threading.Event()

    def kill(pid, number):
        sent.append((pid, number))
        came.set()

    monkeypatch.setattr(interrupt.os, "kill", kill)
    return sent, came


def test_who_has_a_lifeline_is_told_when_it_breaks(monkeypatch, told):
    sent, came = told
    with lifeline() as (end, variable):
        monkeypatch.setenv(PARENT, str(os.dup(end)))
        assert variable == {PARENT: str(end)}
        end_with_parent()
        assert PARENT not in os.environ  # its own children have another
        assert not came.wait(0.05)
    assert came.wait(10)
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_who_saves_already_is_not_killed(monkeypatch, told):
    sent, came = told
    with catching_signals(b"") as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop
        with lifeline() as (end, _):
            monkeypatch.setenv(PARENT, str(os.dup(end)))
            end_with_parent()
        assert not came.wait(0.1)
    assert sent == []


@pytest.mark.parametrize("odd", ["", "x", "-1", "99999"])
def test_an_odd_lifeline_is_none(monkeypatch, told, odd):
    monkeypatch.setenv(PARENT, odd)
    end_with_parent()
    assert not told[1].wait(0.02)
