"""Fixtures: a server on localhost, a small CIFAR-10 prepared from it, torchvision."""

import pytest

from cnnjax.data import prepare
from tests.data.small_archives import SMALL, known_as, serving


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
def cifar10(monkeypatch, server):
    """A server with a small CIFAR-10 that is taken for the official one."""
    small = SMALL["cifar10"]()
    monkeypatch.setitem(prepare.SETS, "cifar10", known_as("cifar10", small))
    server.files = small.files
    return server


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A data_dir with a small CIFAR-10, and what is in it. Do not write to it."""
    root = tmp_path_factory.mktemp("prepared")
    small = SMALL["cifar10"]()
    with serving() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        patch.setitem(prepare.SETS, "cifar10", known_as("cifar10", small))
        running.files = small.files
        prepare.prepare("cifar10", str(root), base_url=running.url)
    return root, small


@pytest.fixture(scope="session")
def torchvision():
    """The package, with the compiled operators declared that its import asks for."""
    reason = "compares with torchvision: extra `peers`"
    pytest.importorskip("torch", reason=reason)
    pytest.importorskip("tests.peers")
    pytest.importorskip("torchvision", reason=reason, exc_type=ImportError)
    return __import__("torchvision.datasets").datasets
