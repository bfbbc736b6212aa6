"""Files in unreadable formats are refused by the name of their format."""

import gzip
import io
import json
import pickle
import tarfile
import warnings
import zipfile

import numpy as np
import pytest

from cnnjax import interop
from cnnjax.errors import UserError
from tests.interop.small_weights import NAME, SOURCE, one_sentence

POINTER = b"""version https://git-lfs.github.com/spec/v1
oid sha256:4665ed7a8cd6aa3c8b4e8b2ce2a7b5f9
size 46830571
"""
INDEX = {"metadata": {}, "weight_map": {"a": "1-of-2.safetensors", "b": "2-of-2"}}


def unreadable(path, *sentence):
    with pytest.raises(UserError) as caught:
        interop.load(NAME, path, source=SOURCE)
    assert str(path) in str(caught.value)
    return one_sentence(caught, sentence)


def zipped(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return content.getvalue()


def tarred():
    content = io.BytesIO()
    with tarfile.open(
        fileobj=content, mode="w", format=tarfile.USTAR_FORMAT
    ) as archive:
        archive.addfile(tarfile.TarInfo("net.pth"))
    return content.getvalue()


def array():
    content = io.BytesIO()
    np.save(content, np.zeros(9))
    return content.getvalue()


LEVELDB = b"\0" * 64 + bytes.fromhex("57fb808b247547db")
KINDS = [
    (b"", "is empty"),
    (b"hello", "is not a complete file (5 bytes)"),
    (POINTER, "a Git LFS pointer: fetch the file by `git lfs pull`"),
    (b"<!DOCTYPE html>\n<html>404</html>", "a web page"),
    (b"\xef\xbb\xbf\n <html lang='en'>sign in</html>", "a web page"),
    (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "a web page"),
    (json.dumps({"message": "Not Found"}).encode(), "is a JSON file"),
    (json.dumps(INDEX).encode(), "the index of weights in 2 files"),
    (gzip.compress(b"weights" * 9), "compressed with gzip: unpack it"),
    (b"BZh91AY&SY" + b"\0" * 40, "compressed with bzip2"),
    (b"\x28\xb5\x2f\xfd" + b"\0" * 40, "compressed with zstd"),
    (tarred(), "a tar archive: unpack it"),
    (zipped("weights.bin", "read.me"), "a zip archive of weights.bin, read.me"),
    (zipped("net/code/__torch__.py", "net/data.pkl"), "a TorchScript archive"),
    (zipped("net/archive_format", "net/models/model.json"), "torch.export"),
    (zipped("config.json", "model.weights.h5"), "a model of Keras"),
    (b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "an HDF5 file, as Keras writes them"),
    (array(), "a single NumPy array"),
    (b"\x08\x08\x12\x07pytorch\x1a\x051.9.0", "a program of ONNX"),
    (b"\x08\x01\x12\xd3\x0c\x0a\x1b\x12\x06serve..", "a SavedModel of TensorFlow"),
    (b'model_checkpoint_path: "model.ckpt-9"', "of TensorFlow checkpoints"),
    (LEVELDB, "a TensorFlow checkpoint"),
    (b"\x1c\0\0\0TFL3" + b"\0" * 40, "TensorFlow Lite"),
    (b"GGUF\x03\0\0\0" + b"\0" * 40, "a GGUF file"),
    (b"\x82\xa6params\x81\xa4head\x80\xa5state\x80", "a msgpack file, as Flax writes"),
    (b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x0d\0\0\0nn.torch.Tensor", "Torch7"),
    (bytes(range(1, 200)), "in an unknown format"),
    (b"PK\x03\x04" + b"\0" * 40, "is not a complete file (an archive without a table"),
    *(
        (pickle.dumps({"conv1.weight": [1.0, 2.0]}, protocol), "a plain pickle not")
        for protocol in range(6)
    ),
]


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize(("content", "what"), KINDS, ids=[what for _, what in KINDS])
def test_what_a_file_is(tmp_path, name, content, what):
    path = tmp_path / name
    path.write_bytes(content)
    unreadable(path, what)


def test_real_programs_of_torch(tmp_path):
    torch = pytest.importorskip("torch", reason="writes files of torch: extra `peers`")
    path = tmp_path / "net.pt"
    net = torch.nn.Conv2d(3, 4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(net, torch.zeros(1, 3, 8, 8))
        torch.jit.save(traced, str(path))
    unreadable(path, "a TorchScript archive", "torch.jit.load(path).state_dict()")


def test_msgpack_of_flax(tmp_path, variables):
    from flax import serialization

    path = tmp_path / "net.msgpack"
    path.write_bytes(serialization.to_bytes(variables))
    unreadable(path, "a msgpack file, as Flax writes them")
