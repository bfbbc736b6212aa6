"""Weights that do not fit, and files that are broken or dangerous.

Each gives one sentence that says what differs, and nothing is loaded.
"""

import pickle
import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from cnnjax import interop
from cnnjax.errors import UserError
from cnnjax.models import create_model, variant
from cnnjax.models.initialize import init_variables

NAME, SOURCE = "resnet20_cifar", "cifar"


def drawn(name, **overrides):
    """Initial variables of one seed."""
    model = create_model(name, **overrides)
    variables = init_variables(model, variant(name).input_shape, (0,))
    return jax.tree.map(lambda leaf: leaf[0], variables)


@pytest.fixture(scope="module")
def variables():
    return drawn(NAME)


@pytest.fixture(scope="module")
def whole(variables):
    return interop.to_torch(NAME, variables, source=SOURCE)


@pytest.fixture
def state_dict(whole):
    """A fresh copy, for a test to spoil."""
    return dict(whole)


def refused(state_dict, *sentence, name=NAME, source=SOURCE, **overrides):
    """The error, after checking that it is one sentence with all these parts."""
    with pytest.raises(UserError) as caught:
        interop.from_torch(name, state_dict, source=source, **overrides)
    return one_sentence(caught, sentence)


def unreadable(path, *sentence):
    with pytest.raises(UserError) as caught:
        interop.load(NAME, path, source=SOURCE)
    assert str(path) in str(caught.value)
    return one_sentence(caught, sentence)


def one_sentence(caught, parts):
    text = str(caught.value)
    assert "\n" not in text
    assert ". " not in text
    assert len(text) < 800
    for part in parts:
        assert part in text, text
    return text


def same(ours, theirs):
    """Whether two trees of variables have the same values."""
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        if isinstance(value, dict):
            same(value, theirs[key])
        else:
            np.testing.assert_array_equal(value, theirs[key], err_msg=key)


# What does not fit the net.


def test_missing(state_dict):
    del state_dict["layer1.0.bn1.running_mean"]
    del state_dict["linear.bias"]
    refused(
        state_dict,
        "2 missing:",
        "linear.bias",
        "layer1.0.bn1.running_mean",
        "nothing was loaded",
    )


def test_extra(state_dict):
    state_dict["layer4.0.conv1.weight"] = np.zeros((8, 8, 3, 3))
    text = refused(state_dict, "1 not of this net: layer4.0.conv1.weight")
    assert "missing" not in text


def test_renamed_gives_the_nearest_name(state_dict):
    state_dict["layer1.0.conv_1.weight"] = state_dict.pop("layer1.0.conv1.weight")
    refused(
        state_dict,
        "1 missing: layer1.0.conv1.weight (is it layer1.0.conv_1.weight?)",
        "1 not of this net: layer1.0.conv_1.weight (is it layer1.0.conv1.weight?)",
    )


def test_wrong_shape(state_dict):
    state_dict["conv1.weight"] = state_dict["conv1.weight"][:, :1]
    refused(
        state_dict,
        "1 of another shape: conv1.weight is (16, 1, 3, 3), not (16, 3, 3, 3)",
    )


def test_long_lists_are_cut(state_dict):
    some = [key for key in state_dict if "bn" in key and not key.endswith("tracked")]
    for key in some[:30]:
        del state_dict[key]
    refused(state_dict, "30 missing:", "and 26 more")


def test_weights_of_another_depth():
    deeper = drawn("resnet32_cifar")
    state_dict = interop.to_torch("resnet32_cifar", deeper, source=SOURCE)
    # Two more blocks in each of three stages, with ten weights and statistics each.
    refused(
        state_dict,
        "60 not of this net: layer1.3.",
        "as many parameters as resnet32_cifar or plain32_cifar",
    )


def test_weights_of_another_architecture(state_dict):
    refused(
        state_dict,
        "these weights are not those of 'vgg11_bn_cifar'",
        "50 missing: classifier.bias (is it linear.bias?), classifier.weight, feat",
        "97 not of this net: linear.bias (is it classifier.bias?), linear.weight,",
        "as many parameters as resnet20_cifar",
        name="vgg11_bn_cifar",
    )


def test_another_number_of_classes(state_dict, variables):
    refused(
        state_dict,
        "2 of another shape:",
        "linear.weight is (10, 64), not (7, 64)",
        "num_classes=10",
        num_classes=7,
    )
    ours = interop.from_torch(NAME, state_dict, source=SOURCE, num_classes=10)
    same(ours, variables)


def test_wrong_source(state_dict):
    refused(
        state_dict,
        "'torchvision' has no weights for 'resnet20_cifar'",
        "allowed sources are cifar",
        source="torchvision",
    )
    refused(state_dict, "did you mean 'torchvision'", source="torchvison")


def test_the_source_that_fits_is_named():
    narrow = {"dense_widths": (4, 4), "num_classes": 3}
    of_timm = interop.to_torch(
        "vgg11", drawn("vgg11", **narrow), source="timm", **narrow
    )
    refused(
        of_timm,
        "6 missing: classifier.0.bias, classifier.0.weight",
        "timm names it like this: source='timm'",
        name="vgg11",
        source="torchvision",
        **narrow,
    )


def test_forms_that_a_source_has_not(state_dict):
    for name in ("alexnet_published", "zfnet", "vgg11_lrn"):
        refused(
            state_dict, "local response normalization", name=name, source="torchvision"
        )


def test_unknown_name(state_dict):
    refused(state_dict, "did you mean 'resnet20_cifar'", name="resnet20_cifr")
    refused(state_dict, "did you mean 'depth'", dept=20)


def test_integers_are_not_weights(state_dict):
    state_dict["conv1.weight"] = state_dict["conv1.weight"].astype(np.int8)
    state_dict["linear.bias"] = state_dict["linear.bias"].astype(np.complex64)
    refused(state_dict, "2 not floating-point:", "conv1.weight (int8)", "(complex64)")


@pytest.mark.parametrize(
    "given", [None, [1, 2], {1: np.zeros(2)}, {"conv1.weight": "text"}, {"epoch": 3}]
)
def test_no_state_dict(given):
    refused(given, "what was given holds no state dict", "model.state_dict()")


def test_an_empty_state_dict():
    refused({}, "97 missing: linear.bias, linear.weight, layer1.0.conv1.weight")


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict", "net"])
def test_wrapped_by_a_trainer(wrapper, state_dict, variables):
    wrapped = {wrapper: state_dict, "epoch": 3}
    same(interop.from_torch(NAME, wrapped, source=SOURCE), variables)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_wrapped_by_torch(prefix, state_dict, variables):
    wrapped = {prefix + key: value for key, value in state_dict.items()}
    same(interop.from_torch(NAME, wrapped, source=SOURCE), variables)
    wrapped["conv1.weight"] = wrapped.pop(prefix + "conv1.weight")
    refused(wrapped, "missing: ", prefix)


def test_variables_of_another_net(variables):
    with pytest.raises(UserError, match="stage1_block4/norm1/mean is missing"):
        interop.to_torch("resnet32_cifar", variables, source=SOURCE)
    stacked = init_variables(create_model(NAME), variant(NAME).input_shape, (0, 1))
    with pytest.raises(UserError, match="leading seed axis"):
        interop.to_torch(NAME, stacked, source=SOURCE)
    params = {**variables["params"], "extra": {"kernel": np.zeros(2)}}
    with pytest.raises(UserError, match="it has no params/extra/kernel"):
        interop.to_torch(NAME, {**variables, "params": params}, source=SOURCE)


# Files.


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


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".tar"])
@pytest.mark.parametrize("zipped", [True, False])
def test_round_trip_through_torch(
    tmp_path, torch, suffix, zipped, state_dict, variables
):
    saved_torch(
        torch,
        tmp_path / f"net{suffix}",
        state_dict,
        _use_new_zipfile_serialization=zipped,
    )
    same(interop.load(NAME, tmp_path / f"net{suffix}", source=SOURCE), variables)


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
    unreadable(tmp_path / "net.pth", "no file", "check the path")
    unreadable(tmp_path, "a folder")
    (tmp_path / "net.npz").write_bytes(b"some bytes")
    unreadable(tmp_path / "net.npz", "the ending '.npz'", ".safetensors, .pth")
    (tmp_path / "net").write_bytes(b"some bytes")
    unreadable(tmp_path / "net", "the ending ''")


@pytest.mark.parametrize("share", [0, 0.00001, 0.001, 0.5, 0.9, 0.999999])
def test_truncated_safetensors(tmp_path, share, state_dict):
    path = saved_safetensors(tmp_path / "net.safetensors", state_dict)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    unreadable(path, "is no whole .safetensors file", "copy or download it again")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0, 0.00001, 0.0005, 0.01, 0.5, 0.9, 0.999999])
def test_truncated_torch(tmp_path, torch, zipped, share, state_dict):
    path = tmp_path / "net.pth"
    saved_torch(torch, path, state_dict, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    unreadable(path, "is no whole torch file", "copy or download it again")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    "content", [b"hello world\n", b"<html>404 not found</html>", bytes(range(256))]
)
def test_another_kind_of_file(tmp_path, suffix, content, request):
    if suffix == ".pth":
        request.getfixturevalue("torch")
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    unreadable(path, "is no whole")


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
    unreadable(path, "holds more than tensors (io.open)", "could run code")
    assert not trace.exists()
    path.write_bytes(pickle.dumps(saved["extra"], protocol=2))
    unreadable(path, "holds more than tensors (io.open)")
    assert not trace.exists()


def test_a_whole_pickled_net_is_refused(tmp_path, torch):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pth")
    unreadable(
        tmp_path / "net.pth",
        "holds more than tensors (torch.nn.modules.linear.Linear)",
        "model.state_dict()",
    )


def test_torch_files_without_a_state_dict(tmp_path, torch):
    path = tmp_path / "net.pth"
    for saved in ([torch.zeros(2)], torch.zeros(2), {"epoch": 3}, {1: torch.zeros(2)}):
        torch.save(saved, path)
        unreadable(path, "holds no state dict")


def test_tensors_that_numpy_has_not(tmp_path, torch):
    path = tmp_path / "net.pth"
    torch.save({"conv1.weight": torch.eye(3).to_sparse()}, path)
    unreadable(path, "holds conv1.weight, which NumPy cannot represent", "dense")
    path = tmp_path / "net.safetensors"
    save = pytest.importorskip("safetensors.torch").save_file
    save({"conv1.weight": torch.zeros(3).to(torch.float8_e4m3fn)}, path)
    unreadable(path, "a type that NumPy has not")


def test_tensors_of_torch_are_taken_as_they_are(torch, state_dict, variables):
    """`net.state_dict()` itself, of parameters with gradients."""
    tensors = {
        key: torch.tensor(value, requires_grad=value.dtype == np.float32)
        for key, value in state_dict.items()
    }
    same(interop.from_torch(NAME, tensors, source=SOURCE), variables)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # an import of it fails
from cnnjax import interop
variables = interop.load({name!r}, {path!r}, source={source!r})
print(variables["params"]["head"]["bias"].shape)
try:
    interop.load({name!r}, {path!r}.replace(".safetensors", ".pth"), source={source!r})
except interop.UserError as error:
    print(error)
"""


def test_safetensors_need_no_torch(tmp_path, state_dict):
    path = saved_safetensors(tmp_path / "net.safetensors", state_dict)
    (tmp_path / "net.pth").write_bytes(b"never read")
    program = WITHOUT_TORCH.format(name=NAME, path=str(path), source=SOURCE)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    shape, sentence = run.stdout.splitlines()
    assert shape == "(10,)"
    assert "needs torch, which is not installed" in sentence
