"""HTTP connections that come to an end: of a least speed, and of a bounded length."""

import http.client
import io
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from cnnjax.errors import UserError, shown

TIMEOUT_SECONDS = 30.0  # without a byte
# A connection may be slower for so long; then it must have kept up with this speed.
GRACE_SECONDS = 60.0
LEAST_BYTES_PER_SECOND = 5_000
# Status, headers and the marks of chunks, beside the body.
MOST_BESIDE_BODY = 1 << 20


class Broken(Exception):
    """The connection or what came over it; nothing of the disk."""


class Connection:
    """The answer to one request.

    Args:
      url: as `check_address` accepts it.
      headers: of the request.
      most_bytes: that the body can have.
      one_host: whether a redirection to another host is refused.

    Raises:
      UserError: such a redirection.
      urllib.error.URLError: no connection, or an answer that is none (HTTPError).
      Broken: the answer breaks off, is too slow, too long or malformed.
    """

    def __init__(
        self, url: str, headers: dict[str, str], most_bytes: int, one_host: bool
    ):
        answers: list[_Response] = []
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            _Plain(most_bytes, answers),
            _Encrypted(most_bytes, answers),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _OneHost() if one_host else urllib.request.HTTPRedirectHandler(),
            # Redirections to files and other protocols end here.
            urllib.request.UnknownHandler(),
        ):
            opener.add_handler(handler)
        try:
            request = urllib.request.Request(url, headers=headers)
            self.response: Any = opener.open(request, timeout=TIMEOUT_SECONDS)
        # Its parsers raise whatever a malformed header makes them stumble over.
        except Exception as error:
            for answer in answers:
                answer.close()
            if isinstance(error, urllib.error.URLError | UserError):
                raise
            raise Broken(str(error) or type(error).__name__) from error

    def read(self, most: int) -> bytes:
        """What has arrived; b'' at the end."""
        try:
            return self.response.read1(most)
        except Exception as error:
            raise Broken(str(error) or type(error).__name__) from error

    def number(self, header: str, pattern: Any) -> int | None:
        """The number that a pattern finds in a header; None without one."""
        found = pattern.fullmatch(self.response.headers.get(header, "").strip())
        return int(found[1]) if found else None

    def close(self) -> None:
        self.response.close()


def check_address(url: str) -> str:
    """The address of a folder of files, without a slash at its end.

    Raises:
      UserError: it is none; says what one looks like.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")  # parts that are empty or too long
        good = (
            parts.scheme in ("http", "https")
            and host
            and parts.port != 0
            and parts.username is None
            and not (parts.query or parts.fragment)
            and url.isascii()
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        good = False
    if not good:
        raise UserError(
            f"--base_url={shown(url)} is no address of a folder: give one such as "
            "https://example.org/cifar, in ASCII and without user, '?' and '#'"
        )
    return url.rstrip("/")


class _OneHost(urllib.request.HTTPRedirectHandler):
    """Follows to other files of the same server, and from http to https."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        before, after = map(urllib.parse.urlsplit, (req.full_url, newurl))
        known = [_server(before)]
        if known[0] == ("http", before.hostname, 80):
            known.append(("https", before.hostname, 443))
        if after.scheme in ("http", "https") and _server(after) not in known:
            raise UserError(
                f"{req.full_url} leads to {shown(newurl)}, and no other server is "
                "asked than that of --base_url: give the address that has the files"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _server(parts: urllib.parse.SplitResult) -> tuple[str, str | None, int]:
    default = {"http": 80, "https": 443}[parts.scheme]
    return parts.scheme, parts.hostname, parts.port or default


class _Watched(io.RawIOBase):
    """The bytes of a socket, of which there must be enough and not too many."""

    def __init__(self, raw: Any, sock: socket.socket, most: int):
        self._raw, self._socket, self._most = raw, sock, most
        self._started, self._received = time.monotonic(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        allowed = GRACE_SECONDS + self._received / LEAST_BYTES_PER_SECOND
        left = self._started + allowed - time.monotonic()
        self._socket.settimeout(max(min(TIMEOUT_SECONDS, left), 1e-3))
        try:
            received = self._raw.readinto(buffer)
        except TimeoutError as error:
            if left < TIMEOUT_SECONDS:
                raise _too_slow() from error
            raise
        if left < 0:
            raise _too_slow()
        self._received += received
        if self._received > self._most:
            raise ConnectionError(f"more than the {self._most:,} bytes expected")
        return received

    def close(self) -> None:
        self._raw.close()
        super().close()


def _too_slow() -> TimeoutError:
    return TimeoutError(f"less than {LEAST_BYTES_PER_SECOND:,} bytes a second")


class _Response(http.client.HTTPResponse):
    """An answer that is watched from its first byte on."""

    def __init__(self, sock: socket.socket, *args: Any, most: int, **options: Any):
        super().__init__(sock, *args, **options)
        self.fp: Any = io.BufferedReader(_Watched(self.fp.detach(), sock, most))


class _Watching(urllib.request.AbstractHTTPHandler):
    """Opens connections whose answers are watched; mixed in before a handler."""

    def __init__(self, most_bytes: int, answers: list[_Response]):
        super().__init__()
        self._most, self._answers = most_bytes + MOST_BESIDE_BODY, answers

    def do_open(self, http_class: Any, req: Any, **options: Any) -> Any:
        def answer(*args: Any, **more: Any) -> _Response:
            self._answers.append(_Response(*args, most=self._most, **more))
            return self._answers[-1]

        def connect(host: str, **more: Any) -> http.client.HTTPConnection:
            connection = http_class(host, **more)
            connection.response_class = answer
            return connection

        return super().do_open(connect, req, **options)


class _Plain(_Watching, urllib.request.HTTPHandler):
    pass


class _Encrypted(_Watching, urllib.request.HTTPSHandler):
    pass
