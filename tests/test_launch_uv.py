"""launch.sh installs with uv, which pip brings, and with pip where that fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_launch import ROOT, Sandbox


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


FAKE_UV = """
[ "$1" != --version ] || exit 0
echo "uv $@" >>"$FAKE_LOG"; echo "$UV_DEFAULT_INDEX, $SSL_CERT_FILE" >"$FAKE_LOG.uv"
"""


def test_pip_brings_uv_where_there_is_none(sandbox):
    """With the settings of pip, which uv reads none of."""
    sandbox.add_python()
    settings = "UV_DEFAULT_INDEX=https://a b/\nSSL_CERT_FILE=/c\n"
    assert sandbox.run("train", FAKE_UV=FAKE_UV, FAKE_SETTINGS=settings)[0] == 0
    assert sandbox.installs() == ["."]
    assert sandbox.pip_log.read_text().startswith("uv pip install --quiet --python")
    assert Path(f"{sandbox.pip_log}.uv").read_text() == "https://a b/, /c\n"


@pytest.mark.parametrize(
    ("uv", "tries"),
    [
        ("exit 126", 1),  # programs cannot run there
        (f"{FAKE_UV} exit 2", 2),  # as where only pip finds the packages
    ],
)
def test_pip_is_the_way_out_where_uv_fails(sandbox, uv, tries):
    sandbox.add_python()
    code, _, err = sandbox.run("train", FAKE_UV=uv)
    assert (code, "trying pip" in err) == (0, tries == 2)
    assert sandbox.installs() == ["."] * tries
    assert sandbox.pip_log.read_text().splitlines()[-1].startswith("-m pip install")


def test_a_uv_that_is_killed_says_so(sandbox):
    sandbox.add_python()
    code, _, err = sandbox.run("train", FAKE_UV=f"{FAKE_UV} kill -9 $$")
    assert (code, "installing was ended by signal 9" in err) == (1, True)
    assert sandbox.installs() == ["."]


def test_what_uv_is_told_of_the_settings_of_pip():
    """The last of global, install and environment counts, as for pip."""
    text = (ROOT / "launch.sh").read_text()
    lines = (
        "global.index-url='https://a/simple'",
        "install.index-url='https://b/simple'",
        "global.extra-index-url='\\nhttps://c/simple\\nfile:///d'",
        ":env:.find-links='/e /f'",
        ":env:.cert='/g'",
        "global.proxy='http://h'",
        "global.timeout='60'",
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", text.split("as_uv_settings='")[1].split("'\n")[0]],
        input="\n".join(lines),
        env={"SSL_CERT_FILE": "/mine"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(done.stdout.splitlines()) == [
        "ALL_PROXY=http://h",
        "UV_DEFAULT_INDEX=https://b/simple",
        "UV_FIND_LINKS=/e,/f",
        "UV_INDEX=https://c/simple file:///d",
        "UV_INDEX_STRATEGY=unsafe-best-match",
    ]
