"""Names that a terminal or file cannot encode do not end a program."""

import io
import sys

import pytest

from cnnjax import cli
from cnnjax.records import write_text

NAMES = ["café", "日本", "not UTF-8 \udcff", "\ud800"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_any_encoding(monkeypatch, encoding, name):
    """As with PYTHONIOENCODING=ascii, Python's own messages are escaped."""
    written = [io.BytesIO(), io.BytesIO()]
    for stream, file in zip(("stdout", "stderr"), written, strict=True):
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(file, encoding=encoding))
    monkeypatch.setattr(sys, "argv", ["program", name])
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: None)
    assert ended.value.code == 2  # an unexpected argument, which the message repeats
    print(name, flush=True)
    sys.stderr.flush()
    out, err = (file.getvalue() for file in written)
    assert out == name.encode(encoding, "backslashreplace") + b"\n"
    assert err.startswith(b"error: unexpected argument ")


def test_no_output_at_all(monkeypatch):
    """As with `>&-`, where Python has no stream."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: 3)
    assert ended.value.code == 3


def test_a_file(tmp_path):
    write_text(tmp_path / "a.txt", "café \udcff")
    assert (tmp_path / "a.txt").read_bytes() == b"caf\xc3\xa9 \\udcff"
