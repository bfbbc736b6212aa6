"""Servers on localhost that send any bytes whatever."""

import contextlib
import socket
import threading


@contextlib.contextmanager
def answering(*answers):
    """An address at which each connection gets the next answer, the last one for ever.

    Args:
      *answers: bytes, or functions that give blocks of bytes until the client is gone.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.01)
        stop = threading.Event()
        thread = threading.Thread(target=_serve, args=(server, answers, stop))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/official"
        finally:
            stop.set()
            thread.join()


def _serve(server, answers, stop):
    left = list(answers)
    while not stop.is_set():
        try:
            client, _ = server.accept()
        except TimeoutError:
            continue
        answer = left.pop(0) if len(left) > 1 else left[0]
        with client, contextlib.suppress(OSError):
            client.settimeout(5)
            client.recv(1 << 16)
            for block in [answer] if isinstance(answer, bytes) else answer():
                if stop.is_set():
                    break
                client.sendall(block)
