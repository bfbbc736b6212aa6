"""The own reader of torch's files gives what torch gives."""

import collections
import warnings
import zipfile

import numpy as np
import pytest

from cnnjax.interop.files.read import opened
from tests.interop.files import hostile
from tests.slow import slow

torch = pytest.importorskip("torch", reason="writes files of torch: extra `peers`")

TYPES = [
    *("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8"),
    *("uint8", "bool", "complex64", "complex128"),
]
OF_ARCHIVES = ["uint16", "float8_e4m3fn", "float8_e5m2"]


def variants(tensor):
    yield "plain", tensor
    yield "transposed", tensor.permute(3, 0, 2, 1)
    yield "slice", tensor[1:, ::2, 1:3, 3:]
    yield "channels last", tensor.contiguous(memory_format=torch.channels_last)
    yield "scalar", tensor[1, 1, 1, 1]
    yield "empty", tensor[:0]
    yield "parameter", torch.nn.Parameter(tensor, requires_grad=False)


@pytest.mark.parametrize("protocol", [2, slow(3), slow(4), 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_every_type_and_layout(tmp_path, zipped, protocol):
    path = tmp_path / "net.pth"
    base = torch.arange(240).reshape(2, 3, 4, 10)
    for kind in TYPES + OF_ARCHIVES * zipped:
        entries = collections.OrderedDict(variants(base.to(getattr(torch, kind))))
        entries._metadata = {"": {"version": 1}}
        saved = {"state": entries, "epoch": 3, "seen": {1, 2}, "size": base.shape}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            how = {"_use_new_zipfile_serialization": zipped}
            torch.save(saved, path, pickle_protocol=protocol, **how)
            theirs = torch.load(path, weights_only=False)["state"]
        with opened(path) as ours:
            assert ours["epoch"] == 3
            for name, tensor in theirs.items():
                check(ours["state"][name], tensor.detach())


def check(unread, tensor):
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()
    array, expected = unread.read(), tensor.numpy()
    assert array.dtype == expected.dtype == unread.dtype
    assert array.shape == expected.shape == unread.shape
    np.testing.assert_array_equal(array, expected)


def test_tensors_with_attributes_and_of_other_libraries(tmp_path):
    tensor = torch.arange(4.0)
    tensor.note = "an attribute"
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = "another"
    torch.save({"a": tensor, "b": parameter, "c": 1}, tmp_path / "net.pth")
    with opened(tmp_path / "net.pth") as saved:
        np.testing.assert_array_equal(saved["a"].read(), [0, 1, 2, 3])
        np.testing.assert_array_equal(saved["b"].read(), [1, 1])


def test_a_big_endian_machine(tmp_path):
    values = np.arange(3, dtype=">f4")
    content = hostile.pickled(("a", hostile.tensor("0", (3,), (1,), 3)))
    made = hostile.archive(content, **{"_0": values.tobytes()})
    path = tmp_path / "net.pth"
    path.write_bytes(made)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("net/byteorder", "big")
    with opened(path) as saved:
        np.testing.assert_array_equal(saved["a"].read(), values)
        assert saved["a"].read().dtype == np.float32
