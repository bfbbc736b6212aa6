"""Small archives in the official layouts, and a server that can misbehave."""

import contextlib
import dataclasses
import gzip
import hashlib
import http.server
import io
import tarfile
import threading

import numpy as np

from cnnjax.data import prepare
from cnnjax.data.prepare.archive import Archive

NUM_PER_BATCH, NUM_TEST = 40, 30
CIFAR10_NAMES = [f"kind{i}" for i in range(10)]


def pixels(count: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (count, *shape), dtype=np.uint8)


def tar_gz(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return compress(buffer.getvalue())


def compress(content: bytes) -> bytes:
    """Without the time of day, which would give every build another checksum."""
    return gzip.compress(content, mtime=0)


def cifar_records(images: np.ndarray, *labels: np.ndarray) -> bytes:
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    columns = [label.astype(np.uint8)[:, None] for label in labels]
    return np.concatenate([*columns, planes], axis=1).tobytes()


def idx_gz(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    return compress(header + array.tobytes())


@dataclasses.dataclass
class Small:
    """A small set: the files to serve, and what must be read back."""

    files: dict[str, bytes]
    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


def small_cifar(num_labels: int) -> Small:
    """CIFAR-10 (one label byte) or CIFAR-100 (coarse and fine)."""
    images = {
        "train": pixels(5 * NUM_PER_BATCH, (32, 32, 3), 0),
        "test": pixels(NUM_TEST, (32, 32, 3), 1),
    }
    labels = {split: np.arange(len(x)) * 7 % 10 for split, x in images.items()}
    fine = {split: np.arange(len(x)) * 7 % 100 for split, x in images.items()}
    if num_labels == 1:
        folder, file = "cifar-10-batches-bin", "cifar-10-binary.tar.gz"
        members = {"batches.meta.txt": ("\n".join(CIFAR10_NAMES) + "\n\n").encode()}
        for i in range(5):
            part = slice(i * NUM_PER_BATCH, (i + 1) * NUM_PER_BATCH)
            members[f"data_batch_{i + 1}.bin"] = cifar_records(
                images["train"][part], labels["train"][part]
            )
        members["test_batch.bin"] = cifar_records(images["test"], labels["test"])
    else:
        folder, file = "cifar-100-binary", "cifar-100-binary.tar.gz"
        names = {"coarse": 20, "fine": 100}
        members = {
            f"{kind}_label_names.txt": "".join(
                f"{kind}{i}\n" for i in range(count)
            ).encode()
            for kind, count in names.items()
        }
        for split, x in images.items():
            members[f"{split}.bin"] = cifar_records(x, labels[split], fine[split])
        labels = fine
    content = {f"{folder}/{name}": data for name, data in members.items()}
    # Members nobody asked for, with names that would be dangerous to extract.
    content |= {"../outside.bin": b"x", "/absolute.bin": b"y"}
    return Small({file: tar_gz(content)}, images, labels)


def small_mnist(seed: int) -> Small:
    images = {
        "train": pixels(50, (28, 28), seed),
        "test": pixels(20, (28, 28), seed + 1),
    }
    labels = {
        s: (np.arange(len(x)) * 3 % 10).astype(np.uint8) for s, x in images.items()
    }
    files = {}
    for split, start in (("train", "train"), ("test", "t10k")):
        files[f"{start}-images-idx3-ubyte.gz"] = idx_gz(images[split])
        files[f"{start}-labels-idx1-ubyte.gz"] = idx_gz(labels[split])
    return Small(files, {s: x[..., None] for s, x in images.items()}, labels)


SMALL = {
    "cifar10": lambda: small_cifar(1),
    "cifar100": lambda: small_cifar(2),
    "mnist": lambda: small_mnist(3),
    "fashion_mnist": lambda: small_mnist(5),
}


@dataclasses.dataclass
class Server:
    """Files over HTTP; the next answers can be cut short.

    Args:
      cuts: for each of the next answers, the bytes after which the connection closes.
      ranges: whether the server understands the Range header.
    """

    url: str
    files: dict[str, bytes]
    cuts: list[int] = dataclasses.field(default_factory=list)
    ranges: bool = True
    requests: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)


def make_handler(server: Server):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            name = self.path.rsplit("/", 1)[-1]
            server.requests.append((name, asked))
            if name not in server.files:
                self.send_error(404)
                return
            content = server.files[name]
            partial = bool(asked) and server.ranges
            start = int(asked.removeprefix("bytes=").rstrip("-")) if partial else 0
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if partial else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            stop = server.cuts.pop(0) if server.cuts else None
            self.wfile.write(content[start:][:stop])

        def log_message(self, *args):
            pass

    return Handler


@contextlib.contextmanager
def serving():
    server = Server("", {})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), make_handler(server)
    ) as http_:
        thread = threading.Thread(target=http_.serve_forever, args=(0.01,))
        thread.start()
        server.url = f"http://127.0.0.1:{http_.server_port}/official"
        try:
            yield server
        finally:
            http_.shutdown()
            thread.join()


def known_as(name: str, small: Small) -> prepare.ImageSet:
    """The real description of a set with the small files' sizes and checksums."""
    archives = tuple(
        Archive(
            a.file,
            len(small.files[a.file]),
            hashlib.sha256(small.files[a.file]).hexdigest(),
        )
        for a in prepare.SETS[name].archives
    )
    return dataclasses.replace(prepare.SETS[name], archives=archives)
