"""The last sentence of a program that the machine has failed."""

import errno
import os
import sys

import pytest

from cnnjax import cli

WORDS = {
    "ENOSPC": "free space",
    "EDQUOT": "free space",
    "EACCES": "permit it",
    "EROFS": "permit it",
    "EMFILE": "ulimit -n",
    "ENAMETOOLONG": "shorter",
    "EIO": "see to that disk",
    "ESTALE": "see to that disk",
}


def ended(monkeypatch, capsys, error):
    """Exit code, and what stands on stderr, of a program that ends with an error."""

    def main():
        raise error

    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(SystemExit) as said:
        cli.run(main)
    return said.value.code, capsys.readouterr().err


@pytest.mark.parametrize("name", WORDS)
def test_every_error_keeps_its_meaning(monkeypatch, capsys, name):
    number = getattr(errno, name)
    error = OSError(number, os.strerror(number), "some/file")
    code, said = ended(monkeypatch, capsys, error)
    assert code == 2
    assert said.count("\n") == 1
    assert f"some/file: {os.strerror(number)}; " in said
    for other in set(WORDS.values()):
        assert (other in said) == (other == WORDS[name])


def test_what_has_no_name_may_be_shared_memory(monkeypatch, capsys):
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "/dev/shm" in ended(monkeypatch, capsys, error)[1]


@pytest.mark.parametrize("error", [OSError("odd"), OSError(errno.EINVAL, "Invalid")])
def test_an_error_of_the_program_is_none_of_the_machine(monkeypatch, capsys, error):
    monkeypatch.setattr(sys, "argv", ["program"])

    def main():
        raise error

    with pytest.raises(OSError, match=r"odd|Invalid"):
        cli.run(main)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"),
    ],
)
def test_no_memory_is_one_sentence(monkeypatch, capsys, error):
    code, said = ended(monkeypatch, capsys, error)
    assert code == 2
    assert said.startswith("error: there is not enough memory; what was saved is not")
    assert said.count("\n") == 1


def test_another_error_of_xla_is_none_of_the_memory(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["program"])

    def main():
        raise RuntimeError("INTERNAL: x")

    with pytest.raises(RuntimeError, match="INTERNAL"):
        cli.run(main)
