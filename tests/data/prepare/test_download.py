"""Downloads from servers and into folders that are not as they must be."""

import contextlib
import hashlib
import itertools
import os
import socket
import time
import urllib.request

import pytest

from cnnjax.data.prepare import connection
from cnnjax.data.prepare.archive import Archive
from cnnjax.data.prepare.connection import check_address
from cnnjax.data.prepare.download import download
from cnnjax.errors import UserError
from tests.data.prepare.servers import answering

CONTENT = bytes(range(256)) * 8
SIZE = len(CONTENT)
FILE = Archive("file.gz", SIZE, hashlib.sha256(CONTENT).hexdigest())
OK = b"HTTP/1.1 200 OK\r\n"
PARTIAL = b"HTTP/1.1 206 Partial Content\r\n"
WHOLE = OK + f"Content-Length: {SIZE}\r\n\r\n".encode() + CONTENT


def fetch(folder, *answers):
    with answering(*answers) as url:
        return download(f"{url}/file.gz", FILE, folder)


def held(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def endlessly(start, block, pause=0.0):
    def blocks():
        yield start
        while True:
            yield block
            time.sleep(pause)

    return blocks


def test_a_whole_file(tmp_path):
    assert fetch(tmp_path, WHOLE).read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["file.gz"]


# -- what does not end -----------------------------------------------------------------


@pytest.mark.parametrize("header", [b"", b"Transfer-Encoding: chunked\r\n"])
def test_no_more_is_written_than_the_size_that_is_known(tmp_path, header):
    """209 MB were, of a file of 9.9."""
    block = bytes(1 << 16)
    block = b"10000\r\n" + block + b"\r\n" if header else block
    with pytest.raises(UserError, match="wrong checksum"):
        fetch(tmp_path, endlessly(OK + header + b"\r\n", block))
    assert held(tmp_path) == 0


def test_what_comes_after_the_file_is_not_read(tmp_path):
    answer = endlessly(OK + b"\r\n" + CONTENT, bytes(1 << 16))
    assert fetch(tmp_path, answer).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "start",
    [b"", b"HTTP/1.1 200 OK\r\nName: ", OK + b"\r\n", PARTIAL + b"\r\n"],
    ids=["status", "headers", "body", "rest"],
)
def test_a_trickle_ends(tmp_path, monkeypatch, start):
    """One byte every four seconds ran for ever."""
    monkeypatch.setattr(connection, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(connection, "LEAST_BYTES_PER_SECOND", 10**6)
    if start.startswith(PARTIAL):
        (tmp_path / "file.gz.part").write_bytes(CONTENT[:9])
    began = time.monotonic()
    with pytest.raises(UserError, match=r"broke off 3 times.*\(less than .* a second"):
        fetch(tmp_path, endlessly(start, b"1", 0.02))
    assert time.monotonic() - began < 30


def test_silence_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "TIMEOUT_SECONDS", 0.1)
    with pytest.raises(UserError, match=r"broke off 3 times.*timed out"):
        fetch(tmp_path, endlessly(OK + b"\r\n12", b"", 0.05))


@pytest.mark.parametrize(
    "endless",
    [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\nA: b\r\n"],
)
def test_endless_headers_end(tmp_path, endless):
    with pytest.raises(UserError, match=r"broke off 3 times"):
        fetch(tmp_path, endlessly(b"", endless * 99))


def test_redirections_end(tmp_path):
    here = b"HTTP/1.1 302 Found\r\nLocation: /%d\r\nContent-Length: 0\r\n\r\n"
    answers = (here % number for number in itertools.count())
    with pytest.raises(UserError, match="answered 302"):
        fetch(tmp_path, *itertools.islice(answers, 20))


@pytest.mark.parametrize("one_host", [True, False])
def test_where_a_given_address_leads_to(tmp_path, one_host):
    found = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n"
    with answering(WHOLE) as other, answering(found % f"{other}/x".encode()) as url:
        address = f"{url}/file.gz"
        if one_host:
            with pytest.raises(UserError, match=r"no other server is asked"):
                download(address, FILE, tmp_path, one_host=True)
            assert held(tmp_path) == 0
        else:
            assert download(address, FILE, tmp_path).read_bytes() == CONTENT
    (tmp_path / "b").mkdir()
    with answering(found % b"/x", WHOLE) as url:
        assert download(f"{url}/file.gz", FILE, tmp_path / "b", one_host=one_host)


def test_only_default_ports_lead_from_http_to_https():
    def leads(before, after):
        request = urllib.request.Request(before)
        with contextlib.suppress(UserError):
            return connection._OneHost().redirect_request(
                request, None, 302, "Found", {}, after
            )

    assert leads("http://a.org/x", "https://A.org/x")
    assert leads("http://a.org:80/x", "https://a.org/y")
    for after in ("https://b.org/x", "https://a.org:8443/x", "http://a.org:8080/x"):
        assert not leads("http://a.org/x", after)
    assert not leads("https://a.org/x", "http://a.org/x")
    assert not leads("http://a.org:8080/x", "https://a.org/x")


# -- what is malformed -----------------------------------------------------------------

FOUND = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n"
LOCATIONS = (
    *(b"", b"http://[", b"http://127.0.0.1:99999/", b"http://127.0.0.1:x/", b"//"),
    *(b"file:///etc/passwd", b"ftp://127.0.0.1/x", b"http://a b/", b"\x1b[31m"),
    *(b"http://" + b"a" * 70 + b"/", b"http://.../", b"\xff\xfe", b"data:,x"),
    *(b"http://user:word@127.0.0.1:1/", b"javascript:1", b"http://\xe4/"),
)
ANSWERS = {
    "nothing": b"",
    "no HTTP": b"hello\r\n\r\n",
    "binary": bytes(range(256)) * 9,
    "long line": b"HTTP/1.1 200 " + b"x" * 99_999,
    "many headers": OK + b"a: b\r\n" * 999 + b"\r\n",
    "code 999": b"HTTP/1.1 999 \x1b[31m" + b"x" * 999 + b"\r\n\r\n",
    "code abc": b"HTTP/1.1 abc x\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "length abc": OK + b"Content-Length: abc\r\n\r\n",
    "length -5": OK + b"Content-Length: -5\r\n\r\n",
    "length 5, 7": OK + b"Content-Length: 5, 7\r\n\r\n12345",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\n12345",
    "length of 400 digits": OK + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n",
    "length of 9,000 digits": OK + b"Content-Length: " + b"9" * 9000 + b"\r\n\r\n",
    "another length": OK + b"Content-Length: 5\r\n\r\n12345",
    "closed early": OK + b"\r\n12345",
    "chunk abc": OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n123",
    "chunk -5": OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n" + bytes(99),
    "endless chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 99_999,
    "another encoding": OK + b"Transfer-Encoding: gzip\r\n\r\n12",
    "unasked part": PARTIAL + b"Content-Range: bytes 9-\r\n\r\n" + CONTENT,
    "no header": OK + b"no header\r\n\x00\xff: \xff\r\n\r\n",
    "nowhere": b"HTTP/1.1 302 Found\r\n\r\n",
    **{f"to {place!r}": FOUND % place for place in LOCATIONS},
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_malformed_answer_is_one_sentence(tmp_path, case):
    with pytest.raises(UserError) as raised:
        fetch(tmp_path, ANSWERS[case])
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 500
    assert held(tmp_path) <= SIZE


@pytest.mark.parametrize("part", ["bytes 9-2047/2048", "bytes x-", "", "-1"])
def test_another_part_than_was_asked_for(tmp_path, part):
    (tmp_path / "file.gz.part").write_bytes(CONTENT[:5])
    answer = PARTIAL + f"Content-Range: {part}\r\n\r\n".encode() + CONTENT[5:]
    if part.startswith("bytes 9"):
        with pytest.raises(UserError, match="sent another part of the file"):
            fetch(tmp_path, answer)
    else:
        assert fetch(tmp_path, answer).read_bytes() == CONTENT


def test_a_part_that_the_server_does_not_have_is_given_up(tmp_path):
    """The file became shorter, or what is here is of another."""
    (tmp_path / "file.gz.part").write_bytes(bytes(SIZE - 1))
    gone = b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n"
    assert fetch(tmp_path, gone, WHOLE).read_bytes() == CONTENT


ADDRESSES = (
    *("", " ", "example.org", "/data", "file:///etc", "ftp://example.org", "http:"),
    *("http://", "http:///x", "http://[::1", "http://example.org:99999", "http://:80"),
    *("http://example.org:x", "http://a b", "http://example.org/a b", "http://\x00"),
    *("http://example.org/\n", "http://example.org/\xe4", "http://\xe4\u2024/"),
    *(f"http://{'a' * 70}.org", "http://user:word@example.org", "http://..", "data:,x"),
    *("http://example.org/?a=b", "http://example.org/#a", "http://example.org:0"),
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_malformed_address_is_one_sentence(address):
    with pytest.raises(UserError, match=r"--base_url=.* is no address") as raised:
        check_address(address)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "address", ["http://[::1]:80", "https://a-b.org/c/", "HTTP://127.0.0.1/~x/%20"]
)
def test_an_address(address):
    assert check_address(address) == address.rstrip("/")


# -- files that are there --------------------------------------------------------------


@pytest.mark.parametrize("name", ["file.gz.part", "file.gz"])
@pytest.mark.parametrize("kind", ["link", "hard link", "link to nothing"])
@pytest.mark.parametrize("size", [0, 5, 2 * SIZE])
def test_what_a_link_leads_to_is_not_touched(tmp_path, name, kind, size):
    """A link of that name truncated its target."""
    folder, target = tmp_path / "downloads", tmp_path / "precious"
    folder.mkdir()
    target.write_bytes(b"p" * size)
    if kind == "hard link":
        os.link(target, folder / name)
    else:
        (folder / name).symlink_to(target if kind == "link" else tmp_path / "nothing")
    # What is called as the whole file, and is not it, is taken out of the way first.
    if name == "file.gz" and kind != "link to nothing":
        with pytest.raises(UserError, match="wrong checksum"):
            fetch(folder, WHOLE)
    assert fetch(folder, WHOLE).read_bytes() == CONTENT
    assert target.read_bytes() == b"p" * size
    assert not (folder / "file.gz").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["downloads", "precious"]


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "sparse"])
def test_what_is_no_file(tmp_path, kind):
    path = tmp_path / "file.gz"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 2**40)
    with pytest.raises(
        UserError, match=r"is a pipe|is a device|is a folder|wrong checksum \(1,099"
    ):
        fetch(tmp_path, WHOLE)


@pytest.mark.parametrize("kind", ["pipe", "device", "too large"])
def test_a_part_that_is_no_part(tmp_path, kind):
    part = tmp_path / "file.gz.part"
    if kind == "pipe":
        os.mkfifo(part)
    elif kind == "device":
        part.symlink_to("/dev/full")
    else:
        part.write_bytes(bytes(SIZE + 1))
    assert fetch(tmp_path, WHOLE).read_bytes() == CONTENT


def test_nobody_is_there(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(UserError, match="cannot reach"):
        download(f"http://127.0.0.1:{port}/file.gz", FILE, tmp_path)
