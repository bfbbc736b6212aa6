"""Weight files: round trips, and damaged or dangerous files.

Each of the latter gives one sentence, and nothing in it runs.
"""

import pickle
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from cnnjax import interop
from cnnjax.errors import UserError
from tests.interop.small_weights import NAME, SOURCE, one_sentence, same


def unreadable(path, *sentence):
    with pytest.raises(UserError) as caught:
        interop.load(NAME, path, source=SOURCE)
    assert str(path) in str(caught.value)
    return one_sentence(caught, sentence)


def saved_safetensors(path, state_dict):
    safetensors.numpy.save_file(state_dict, path)
    return path


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="writes files of torch: extra `peers`")


def saved_torch(torch, path, state_dict, **arguments):
    tensors = {key: torch.tensor(value) for key, value in state_dict.items()}
    torch.save(tensors, path, **arguments)


def test_round_trip_through_safetensors(tmp_path, state_dict, variables):
    path = saved_safetensors(tmp_path / "net.safetensors", state_dict)
    same(interop.load(NAME, path, source=SOURCE), variables)
    same(interop.load(NAME, str(path), source=SOURCE), variables)
    same(interop.load(NAME, bytes(path), source=SOURCE), variables)


@pytest.mark.parametrize("zipped", [True, False])
def test_round_trip_through_torch(tmp_path, torch, zipped, state_dict, variables):
    path = tmp_path / "net.pth"
    saved_torch(torch, path, state_dict, _use_new_zipfile_serialization=zipped)
    same(interop.load(NAME, path, source=SOURCE), variables)


def test_round_trip_through_numpy(tmp_path, state_dict, variables):
    np.savez(tmp_path / "net.npz", **state_dict)
    same(interop.load(NAME, tmp_path / "net.npz", source=SOURCE), variables)


@pytest.mark.parametrize("name", ["net.th", "net.ckpt", "NET.PTH", "net", "net.npz"])
@pytest.mark.parametrize("kind", ["torch", "old torch", "safetensors"])
def test_the_content_decides_and_not_the_name(
    tmp_path, name, kind, state_dict, variables, request
):
    path = tmp_path / name
    if kind == "safetensors":
        saved_safetensors(path, state_dict)
    else:
        zipped = {"_use_new_zipfile_serialization": kind == "torch"}
        saved_torch(request.getfixturevalue("torch"), path, state_dict, **zipped)
    same(interop.load(NAME, path, source=SOURCE), variables)


def test_checkpoint_of_a_trainer(tmp_path, torch, state_dict, variables):
    tensors = {f"module.{k}": torch.tensor(v) for k, v in state_dict.items()}
    path = tmp_path / "checkpoint.pth.tar"
    torch.save({"epoch": 90, "state_dict": tensors, "best": 91.2}, path)
    same(interop.load(NAME, path, source=SOURCE), variables)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_half_precision(tmp_path, kind, suffix, state_dict, request):
    dtype = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}[kind]
    floats = {k: v for k, v in state_dict.items() if v.dtype == np.float32}
    rounded = {k: v.astype(dtype) for k, v in floats.items()}
    path = tmp_path / f"net{suffix}"
    if suffix == ".safetensors":
        saved_safetensors(path, rounded)
    else:
        torch = request.getfixturevalue("torch")
        tensors = {k: torch.tensor(v) for k, v in floats.items()}
        half = {k: v.to(getattr(torch, kind)) for k, v in tensors.items()}
        torch.save(half, path)
    ours = interop.load(NAME, path, source=SOURCE)
    back = interop.to_torch(NAME, ours, source=SOURCE)
    for key, value in rounded.items():
        assert back[key].dtype == np.float32
        np.testing.assert_array_equal(back[key], value.astype(np.float32))


def test_double_precision_is_kept(state_dict):
    doubles = {key: value.astype(np.float64) for key, value in state_dict.items()}
    ours = interop.from_torch(NAME, doubles, source=SOURCE)
    assert ours["params"]["stem_conv"]["kernel"].dtype == np.float64


def test_integer_tensors_in_a_file(tmp_path, state_dict):
    state_dict["linear.bias"] = np.arange(10)
    path = saved_safetensors(tmp_path / "net.safetensors", state_dict)
    with pytest.raises(UserError, match=r"not floating-point: linear.bias \(int64\)"):
        interop.load(NAME, path, source=SOURCE)


def test_no_file(tmp_path):
    unreadable(tmp_path / "net.pth", "there is no file", "check the path")
    unreadable(tmp_path, "is a folder, not a weight file")
    (tmp_path / "model.safetensors").write_bytes(b"")
    unreadable(tmp_path, "it contains model.safetensors")
    unreadable(tmp_path / "model.safetensors", "is empty", "download it again")


@pytest.mark.parametrize("path", [None, 3, ["net.pth"]])
def test_no_path(path):
    with pytest.raises(UserError, match="the path of the weights is") as caught:
        interop.load(NAME, path, source=SOURCE)
    one_sentence(caught, [repr(path)])


@pytest.mark.parametrize("share", [0.00001, 0.001, 0.5, 0.9, 0.999999])
def test_truncated_safetensors(tmp_path, share, state_dict):
    path = saved_safetensors(tmp_path / "net.safetensors", state_dict)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    unreadable(path, "is not a complete ", "copy or download it again")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.00001, 0.0005, 0.01, 0.5, 0.9, 0.999999])
def test_truncated_torch(tmp_path, torch, zipped, share, state_dict):
    path = tmp_path / "net.pth"
    saved_torch(torch, path, state_dict, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    unreadable(path, "is not a complete ", "copy or download it again")


@pytest.mark.parametrize("place", [0.3, 0.5, 0.8])
def test_flipped_bytes_in_a_torch_file(tmp_path, torch, place, state_dict):
    path = tmp_path / "net.pth"
    saved_torch(torch, path, state_dict)
    content = bytearray(path.read_bytes())
    start = int(place * len(content))
    content[start : start + 4] = bytes(255 - b for b in content[start : start + 4])
    path.write_bytes(content)
    unreadable(path, "is not a complete file (damaged inside", "download it again")


def test_torch_files_without_sums(tmp_path, torch, state_dict, variables):
    """torch can omit checksums, and zeros do not mean damage."""
    path = tmp_path / "net.pth"
    torch.serialization.set_crc32_options(False)
    try:
        saved_torch(torch, path, state_dict)
    finally:
        torch.serialization.set_crc32_options(True)
    same(interop.load(NAME, path, source=SOURCE), variables)


def test_weights_of_a_diverged_run_are_named(state_dict, caplog):
    state_dict["linear.bias"] = np.full(10, np.nan, np.float16)
    state_dict["bn1.running_var"] = state_dict["bn1.running_var"] - 2
    interop.from_torch(NAME, state_dict, source=SOURCE)
    assert "weights that are not finite (linear.bias)" in caplog.text
    assert "negative variances (bn1.running_var)" in caplog.text


def test_an_npz_file_with_more_than_arrays(tmp_path):
    path = tmp_path / "net.npz"
    np.savez(path, weights=np.array([{}], dtype=object))
    unreadable(path, "is not an .npz file of plain arrays")


class Malicious:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused_and_does_not_run(tmp_path, torch, zipped):
    path, trace = tmp_path / "net.pth", tmp_path / "it_ran"
    saved = {"conv1.weight": torch.zeros(2), "extra": Malicious(trace)}
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    unreadable(path, "contains more than tensors (io.open)", "could run code")
    assert not trace.exists()
    path.write_bytes(pickle.dumps(saved["extra"], protocol=2))
    unreadable(path, "contains more than tensors (io.open)")
    assert not trace.exists()


def test_a_whole_pickled_net_is_refused(tmp_path, torch):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pth")
    unreadable(
        tmp_path / "net.pth",
        "contains more than tensors (torch.nn.modules.linear.Linear)",
        "model.state_dict()",
    )


def test_torch_files_without_a_state_dict(tmp_path, torch):
    path = tmp_path / "net.pth"
    for saved in ([torch.zeros(2)], torch.zeros(2), {"epoch": 3}, {1: torch.zeros(2)}):
        torch.save(saved, path)
        unreadable(path, "contains no state dict")


def test_tensors_that_numpy_has_not(tmp_path, torch):
    path = tmp_path / "net.pth"
    torch.save({"conv1.weight": torch.eye(3).to_sparse()}, path)
    unreadable(path, "contains conv1.weight, which NumPy cannot represent", "dense")
    path = tmp_path / "net.safetensors"
    save = pytest.importorskip("safetensors.torch").save_file
    save({"conv1.weight": torch.zeros(3).to(torch.float8_e4m3fn)}, path)
    unreadable(path, "contains conv1.weight, which NumPy cannot represent (F8_E4M3)")


def test_tensors_of_torch_are_taken_as_they_are(torch, state_dict, variables):
    """`net.state_dict()` itself, with parameters that require gradients."""
    tensors = {
        key: torch.tensor(value, requires_grad=value.dtype == np.float32)
        for key, value in state_dict.items()
    }
    same(interop.from_torch(NAME, tensors, source=SOURCE), variables)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # makes its import fail
from cnnjax import interop
for ending in ("safetensors", "pth", "old.pth", "npz"):
    variables = interop.load({name!r}, {stem!r} + ending, source={source!r})
    print(variables["params"]["head"]["bias"].shape)
"""


def test_no_kind_of_file_needs_torch(tmp_path, torch, state_dict):
    saved_safetensors(tmp_path / "net.safetensors", state_dict)
    saved_torch(torch, tmp_path / "net.pth", state_dict)
    old = {"_use_new_zipfile_serialization": False}
    saved_torch(torch, tmp_path / "net.old.pth", state_dict, **old)
    np.savez(tmp_path / "net.npz", **state_dict)
    stem = f"{tmp_path}/net."
    program = WITHOUT_TORCH.format(name=NAME, stem=stem, source=SOURCE)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == ["(10,)"] * 4
