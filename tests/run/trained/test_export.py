"""Exports, opened by those for whom they are made."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from flax import linen as nn
from flax import traverse_util

from cnnjax import interop, load_export, load_run
from cnnjax.errors import UserError
from cnnjax.layers.norm import NORMS, NormKind
from cnnjax.run.folder import RunFolder
from cnnjax.run.trained.export import export, metadata
from tests.run.tiny import fit, tiny_run
from tests.slow import slow

SMALL = {"train__steps": 3, "eval__every_epochs": 1.0}
_apply = jax.jit(lambda net, v, x: net.apply(v, x, train=False), static_argnums=0)


def logits_of(net, images):
    return np.asarray(_apply(net.network, net.variables, net.preprocess(images)))


def trained(folder, model="mlp", arguments=None, **changes):
    """A run of three steps, and its last weights."""
    run = tiny_run(model, arguments, **(SMALL | changes))
    fit(run, folder)
    return run, load_run(folder, "last")


def untrained(path, model="mlp", arguments=None, **changes):
    """Initial weights, with statistics away from theirs, of a run that never began."""
    run = tiny_run(model, arguments, **(SMALL | changes))
    RunFolder(path, run, path.name).write_records()
    net = load_run(path, "initial")
    draw = np.random.RandomState(0)
    drawn = jax.tree.map(
        lambda leaf: (leaf + draw.uniform(0, 1, leaf.shape)).astype(np.float32),
        {k: tree for k, tree in net.variables.items() if k != "params"},
    )
    return run, dataclasses.replace(net, variables=net.variables | drawn)


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """A net of the CIFAR family, with its blocks in stacks."""
    arguments = {"depth": 14, "widths": (4, 8), "scan_blocks": True}
    return trained(
        tmp_path_factory.mktemp("cifar") / "mine",
        "resnet20_cifar",
        arguments,
        data__image_size=8,
        augment__standardize="pixel_mean",
    )


def test_an_export_has_no_folder_of_its_start(cifar, monkeypatch):
    net = cifar[1]
    config = net.config.copy_and_resolve_references().unlock()
    config.start.folder = "/home/me"
    found = metadata(dataclasses.replace(net, config=config), "cnnjax")
    assert "/home/me" not in json.dumps(found)


def test_safetensors_and_back(cifar, tmp_path):
    run, net = cifar
    path = tmp_path / "new" / "mine.safetensors"
    wrote = export(net, path, "safetensors")
    assert (wrote.path, wrote.sidecar, wrote.names) == (path, None, "cnnjax")
    # As anyone opens it.
    arrays = safetensors.numpy.load_file(path)
    kernel = net.plain().variables["params"]["stage1_block2"]["conv1"]["kernel"]
    np.testing.assert_array_equal(arrays["params/stage1_block2/conv1/kernel"], kernel)
    assert "batch_stats/stem_norm/var" in arrays
    with safetensors.safe_open(path, "numpy") as file:
        header = file.metadata()
    assert json.loads(header["architecture"])["model"]["depth"] == 14
    assert json.loads(header["classes"]) == list(run.dataset.class_names)
    assert json.loads(header["preprocessing"])["height"] == 8
    training = json.loads(header["training"])
    assert (training["step"], training["seed"], training["weights"]) == (3, 0, "last")
    assert training["test_error"] == net.test_error is not None
    # The one file is all that it takes.
    back, images = load_export(path), run.dataset.test.images
    np.testing.assert_array_equal(
        logits_of(back, images), logits_of(net.plain(), images)
    )
    np.testing.assert_allclose(
        logits_of(back, images), logits_of(net, images), rtol=1e-4, atol=1e-5
    )
    assert repr(back) == repr(net)
    assert back.class_names == net.class_names
    assert back.config.model.depth == 14


def test_no_path_of_this_machine_leaves_it(tmp_path):
    pytest.importorskip("torch", reason="writes files of torch: extra `peers`")
    run, net = untrained(tmp_path / "run", data__data_dir="/home/me/private")
    for form, name in (("safetensors", "a.safetensors"), ("torch", "a.pth")):
        export(net, tmp_path / name, form)
    written = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len(written) == 3
    assert not any(b"/home/me" in path.read_bytes() for path in written)
    assert run.config.data.data_dir == "/home/me/private"


PLAIN_ORBAX = """
import sys
import numpy as np
import orbax.checkpoint as ocp
for checkpointer in (ocp.StandardCheckpointer(), ocp.PyTreeCheckpointer()):
    tree = checkpointer.restore(sys.argv[1])
    print(repr(float(np.asarray(tree["params"]["head"]["kernel"], np.float64).sum())))
    print(sorted(tree["params"]))
print(any(name.split(".")[0] in ("cnnjax", "flax") for name in sys.modules))
"""


def test_plain_orbax_restores_the_tree(cifar, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Orbax itself takes absolute paths alone
    _, net = cifar
    wrote = export(net, "tree", "orbax")
    ended = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", PLAIN_ORBAX, str(wrote.path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": ""},
        check=True,
    )
    params = net.plain().variables["params"]
    total = repr(float(params["head"]["kernel"].astype(np.float64).sum()))
    names = str(sorted(params))
    assert ended.stdout.splitlines() == [total, names, total, names, "False"]
    sidecar = json.loads((tmp_path / "tree.json").read_text())
    assert sidecar["training"]["step"] == 3


def torch_logits(module, path, net, images):
    """What a net of torch answers with the weights of a file, loaded strictly."""
    torch = pytest.importorskip("torch")
    if path.suffix == ".safetensors":
        state = pytest.importorskip("safetensors.torch").load_file(path)
    else:
        state = torch.load(path, weights_only=True)
    module.load_state_dict(state, strict=True)
    inputs = np.asarray(net.preprocess(images)).transpose(0, 3, 1, 2)
    with torch.no_grad():
        return module.eval()(torch.tensor(inputs)).numpy()


def assert_equal_logits(theirs, net, images):
    np.testing.assert_allclose(theirs, logits_of(net, images), rtol=1e-3, atol=1e-4)


def test_a_net_that_no_library_has_keeps_our_names_in_torch(tmp_path):
    """The peer is what a user writes by the names in the file."""
    nn = pytest.importorskip("torch").nn
    run, net = untrained(tmp_path / "run", norm__kind="none")
    wrote = export(net, tmp_path / "mine.pt", "torch")
    assert wrote.names == "cnnjax"
    names = net.variables["params"].keys()
    assert len(names) == 2
    hidden, head = sorted(names, key=lambda name: name == "head")

    class Peer(nn.Module):
        def __init__(self):
            super().__init__()
            setattr(self, hidden, nn.Linear(4 * 4 * 3, 6))
            setattr(self, head, nn.Linear(6, 3))

        def forward(self, x):
            x = getattr(self, hidden)(x.flatten(1)).relu()
            return getattr(self, head)(x)

    images = run.dataset.test.images
    theirs = torch_logits(Peer(), wrote.path, net, images)
    assert_equal_logits(theirs, net, images)
    # It is not what load_export reads: layouts are those of torch.
    other = export(net, tmp_path / "mine.safetensors", "torch")
    with pytest.raises(UserError, match="has the names of cnnjax for torch"):
        load_export(other.path)


@pytest.mark.slow
def test_torchvision_and_timm_load_a_resnet(tmp_path):
    peers = pytest.importorskip("tests.peers")
    run, net = untrained(tmp_path / "run", "resnet18", data__image_size=32)
    images = run.dataset.test.images[:4]
    for form, source, name in (
        ("torchvision", "torchvision", "a.pth"),
        ("timm", "timm", "b.safetensors"),
        ("torch", "torchvision", "c.bin"),
    ):
        wrote = export(net, tmp_path / name, form)
        assert wrote.names == source
        peer = peers.peer(source, "resnet18", num_classes=3).float()
        assert_equal_logits(torch_logits(peer, wrote.path, net, images), net, images)
    with pytest.raises(UserError, match=r"'cifar' has no weights for 'resnet18'"):
        export(net, tmp_path / "d.pth", "cifar")
    # timm itself reads the file as a checkpoint.
    path = str(tmp_path / "b.safetensors")
    peer = pytest.importorskip("timm").create_model(
        "resnet18", num_classes=3, checkpoint_path=path
    )
    head = net.variables["params"]["head"]["kernel"]
    np.testing.assert_array_equal(peer.fc.weight.detach().numpy(), head.T)


@pytest.mark.parametrize("source", ["cifar", "cifar_append"])
def test_a_port_of_cifar_loads_what_was_trained(source, cifar, tmp_path):
    """With zero channels on both sides, as akamaster's, and all of them behind."""
    reference = pytest.importorskip("benchmarks.peers.torch_resnet")
    nn, functional = reference.nn, reference.functional

    class OnBothSides(nn.Module):
        def forward(self, x):  # planes // 4 on each, here 8 // 4
            return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))

    port = reference.ResNet(reference.BasicBlock, 3, (4, 8))
    port.linear = nn.Linear(8, 3)
    if source == "cifar":
        port.layer2[0].shortcut = OnBothSides()
    run, net = cifar
    wrote = export(net, tmp_path / "a.pth", source)
    images = run.dataset.test.images
    assert_equal_logits(torch_logits(port, wrote.path, net, images), net, images)


SMALL_CIFAR = {"depth": 6, "widths": (4, 8)}


@pytest.mark.parametrize(
    "changes",
    [
        {"model__act": "silu"},
        slow({"norm__epsilon": 1e-2}),
        {"model__placement": "act_before_add"},
    ],
    ids=str,
)
def test_what_names_do_not_show_is_refused(changes, tmp_path):
    """A strict load would take these weights and compute something else."""
    _, net = untrained(tmp_path / "run", "resnet20_cifar", SMALL_CIFAR, **changes)
    with pytest.raises(UserError, match=r"another function|something else|no nets"):
        export(net, tmp_path / "a.pth", "cifar")
    # With our names nobody takes it for what it is not.
    wrote = export(net, tmp_path / "a.safetensors", "torch")
    assert wrote.names == "cnnjax"


@pytest.mark.parametrize(
    "kind", ["group", slow("layer"), slow("layer_channel"), "rms", slow("none")]
)
def test_norms_that_a_library_has_not_are_refused(kind, tmp_path, monkeypatch):
    """The library's own net has other names: nobody could load them."""
    rms = NormKind(lambda _, name, scale_init: nn.RMSNorm(name=name), has_bias=False)
    monkeypatch.setitem(NORMS, "rms", rms)
    _, net = untrained(tmp_path / "run", "resnet20_cifar", SMALL_CIFAR, norm__kind=kind)
    for source in ("cifar", "cifar_append"):
        with pytest.raises(UserError, match=f"{source} has no .* norm '{kind}'"):
            export(net, tmp_path / "a.safetensors", source)
    assert export(net, tmp_path / "a.safetensors", "torch").names == "cnnjax"


def test_what_has_no_effect_at_test_time_is_not_refused(tmp_path):
    changes = {"norm__momentum": 0.5, "model__zero_last_scale": True}
    changes |= {"model__dropout_rate": 0.5, "train__dtype": "bfloat16"}
    _, net = untrained(tmp_path / "run", "resnet20_cifar", SMALL_CIFAR, **changes)
    assert export(net, tmp_path / "a.safetensors", "cifar").names == "cifar"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [slow("a.th"), slow("A.PTH"), "a.Bin", "A.SafeTensors"]
)
def test_endings_in_any_spelling(name, tmp_path):
    _, net = untrained(tmp_path / "run", "resnet20_cifar", SMALL_CIFAR)
    wrote = export(net, tmp_path / name, "cifar")
    assert wrote.path.name == name
    small = {**SMALL_CIFAR, "num_classes": 3}
    back = interop.load("resnet20_cifar", wrote.path, "cifar", **small)
    for kind in ("params", "batch_stats"):
        for path, leaf in traverse_util.flatten_dict(back[kind]).items():
            ours = traverse_util.flatten_dict(net.plain().variables[kind])[path]
            np.testing.assert_array_equal(leaf, ours)


def test_the_norm_of_a_run_comes_back(tmp_path):
    """An epsilon is in no weight: the metadata have it, and `load_export` uses it."""
    pytest.importorskip("torch", reason="writes files of torch: extra `peers`")
    changes = {"norm__epsilon": 1e-2, "norm__momentum": 0.5}
    run, net = untrained(tmp_path / "run", "resnet20_cifar", SMALL_CIFAR, **changes)
    export(net, tmp_path / "a.safetensors", "safetensors")
    back, images = load_export(tmp_path / "a.safetensors"), run.dataset.test.images
    assert (back.network.norm.epsilon, back.network.norm.momentum) == (1e-2, 0.5)
    np.testing.assert_array_equal(
        logits_of(back, images), logits_of(net.plain(), images)
    )
    export(net, tmp_path / "a.pth", "torch")
    sidecar = json.loads((tmp_path / "a.pth.json").read_text())
    assert sidecar["names"] == "cnnjax for torch"
    assert sidecar["architecture"]["norm"]["epsilon"] == 1e-2


def test_files_that_exist_and_endings(cifar, tmp_path):
    _, net = cifar
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"of somebody")
    with pytest.raises(UserError, match="exists already: remove it or give another"):
        export(net, path, "safetensors")
    assert path.read_bytes() == b"of somebody"
    (tmp_path / "tree.json").touch()
    with pytest.raises(UserError, match=r"tree.json exists already"):
        export(net, tmp_path / "tree", "orbax")
    with pytest.raises(UserError, match=r"ends in .safetensors, 'a.pth' does not"):
        export(net, tmp_path / "a.pth", "safetensors")
    with pytest.raises(UserError, match=r"ends in .pth or .* 'a.onnx' does not"):
        export(net, tmp_path / "a.onnx", "torch")
    with pytest.raises(UserError, match="unknown format 'safetensor'"):
        export(net, tmp_path / "a.safetensors", "safetensor")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "mine.safetensors",
        "tree.json",
    ]


def test_files_that_are_no_exports(tmp_path):
    with pytest.raises(UserError, match="no file"):
        load_export(tmp_path / "nowhere.safetensors")
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match=r"Git LFS"):
        load_export(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"is a pipe, not a file"):
        load_export(tmp_path / "pipe")
    safetensors.numpy.save_file({"weight": np.zeros(2, np.float32)}, path)
    with pytest.raises(UserError, match=r"no export of cnnjax: .*interop.load"):
        load_export(path)


def test_an_export_of_another_version_of_the_net(cifar, tmp_path):
    path = tmp_path / "a.safetensors"
    export(cifar[1], path, "safetensors")
    with safetensors.safe_open(path, "numpy") as file:
        header = file.metadata()
    arrays = safetensors.numpy.load_file(path)
    arrays["params/head/kernel"] = arrays["params/head/kernel"][:, :2].copy()
    safetensors.numpy.save_file(arrays, path, header)
    with pytest.raises(UserError, match=r"params/head/kernel is \(8, 2\) there"):
        load_export(path)


def test_values_and_types_of_an_export(cifar, tmp_path, caplog):
    path = tmp_path / "a.safetensors"
    export(cifar[1], path, "safetensors")
    with safetensors.safe_open(path, "numpy") as file:
        header = file.metadata()
    arrays = safetensors.numpy.load_file(path)
    (var, *_) = [name for name in arrays if name.endswith("/var")]
    odd = arrays | {var: -arrays[var], "params/head/bias": arrays["params/head/bias"]}
    odd["params/head/bias"] = odd["params/head/bias"] * np.float32(np.nan)
    safetensors.numpy.save_file(odd, path, header)
    load_export(path)
    assert "weights that are not finite (params/head/bias)" in caplog.text
    assert f"negative variances ({var})" in caplog.text
    odd["params/head/bias"] = arrays["params/head/bias"].view(np.int32)
    safetensors.numpy.save_file(odd, path, header)
    with pytest.raises(UserError, match=r"params/head/bias is int32 there"):
        load_export(path)


def test_without_torch(cifar, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"not installed: .*\.safetensors"):
        export(cifar[1], tmp_path / "a.pth", "torch")
    assert not list(tmp_path.iterdir())
    export(cifar[1], tmp_path / "a.safetensors", "torch")
