"""Checkpoints that contain a state dict, heads for another task, other stems."""

import argparse
import collections
import datetime
import logging
import pathlib

import numpy as np
import pytest

from cnnjax import interop
from cnnjax.errors import UserError
from tests.interop.small_weights import NAME, SOURCE, drawn, one_sentence, same

EMA = 0.5  # the averaged weights of these tests are half of the raw ones


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="writes files of torch: extra `peers`")


@pytest.fixture
def averaged(state_dict):
    return {key: value * EMA for key, value in state_dict.items()}


def scale(variables, original):
    """The factor by which the weights of the head differ from the original."""
    kernels = [v["params"]["head"]["kernel"] for v in (variables, original)]
    return float((kernels[0] / kernels[1]).mean())


def under(prefix, state_dict):
    return {prefix + key: value for key, value in state_dict.items()}


def taken(given, caplog, *said, **arguments):
    """The variables, after checking the one line that was logged about them."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "cnnjax.interop"):
        ours = interop.from_torch(NAME, given, source=SOURCE, **arguments)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == bool(said), lines
    for part in said:
        assert part in lines[0]
    return ours


def refused(given, *sentence, name=NAME, **arguments):
    with pytest.raises(UserError) as caught:
        interop.from_torch(name, given, source=SOURCE, **arguments)
    return one_sentence(caught, sentence)


@pytest.mark.parametrize(
    "prefix",
    ["model.", "backbone.", "net.", "module.model.", "encoder.", "_orig_mod.student."],
)
def test_a_common_prefix(prefix, state_dict, variables, caplog):
    same(taken(under(prefix, state_dict), caplog), variables)


def test_what_lies_beside_the_prefix_is_named(state_dict, variables, caplog):
    given = under("model.", state_dict) | {"criterion.weight": np.ones(10)}
    ours = taken(given, caplog, "ignored entries without 'model.': criterion.weight")
    same(ours, variables)
    del given["model.linear.bias"]
    refused(given, "1 missing: linear.bias", "1 without 'model.': criterion.weight")


@pytest.mark.parametrize("tensors", [True, False])
def test_what_lies_beside_hides_no_hint(tensors, state_dict):
    """Tensors of torch have methods where arrays have numbers."""
    if tensors:
        torch = pytest.importorskip("torch", reason="tensors: extra `peers`")
        state_dict = {k: torch.tensor(v) for k, v in state_dict.items()}
    given = under("model.", state_dict)
    given["criterion.weight"] = state_dict["linear.bias"]
    beside = "1 without 'model.': criterion.weight"
    refused(given, beside, "num_classes=10, or initial_head=True", num_classes=7)
    params = {k: v for k, v in given.items() if "running" not in k}
    refused(params, beside, "they have no running statistics")
    renamed = {k.replace("model.linear", "classifier"): v for k, v in given.items()}
    refused(renamed, "3 without 'model.': classifier.bias", "initial_head=True keeps")
    refused(given, beside, name="resnet32_cifar", initial_head=True)
    average = {k.replace("model.", "ema."): v for k, v in params.items()}
    refused(given | average, "no running statistics", weights="ema")


def test_what_lies_beside_a_net_of_torchvision():
    small = {"num_blocks": (1, 1), "widths": (8, 8)}
    weights = interop.to_torch("resnet18", drawn("resnet18", **small), **small)
    given = under("backbone.", weights) | {"criterion.weight": np.ones(3)}
    for arguments in ({"num_classes": 7}, {"num_blocks": (2, 1), "initial_head": True}):
        with pytest.raises(UserError) as caught:
            interop.from_torch("resnet18", given, **(small | arguments))
        one_sentence(caught, ["1 without 'backbone.': criterion.weight"])


@pytest.mark.parametrize("place", [("model", "state_dict"), ("checkpoint", "weights")])
def test_wrapped_twice(place, state_dict, variables, caplog):
    saved = {place[0]: {place[1]: state_dict, "epoch": 3}, "optimizer": {"lr": 0.1}}
    same(taken(saved, caplog), variables)


def test_a_place_that_nobody_knows(state_dict, variables, caplog):
    same(taken({"generator_2": state_dict, "step": 4}, caplog), variables)
    refused(
        {"net_a": state_dict, "net_b": state_dict},
        "several sets of weights ('net_a', 'net_b')",
    )
    contrastive = under("encoder_q.", state_dict) | under("encoder_k.", state_dict)
    refused(contrastive, "several sets of weights ('encoder_q.', 'encoder_k.')")
    saved = {"optimizer": {"momentum": state_dict}, "epoch": 3}
    refused(saved, "contains no state dict")


@pytest.mark.parametrize(
    "keys",
    [
        ("net", "best_net"),
        ("model", "best_model"),
        ("state_dict", "teacher"),
        ("model", "callbacks"),
        ("hyper_network", "model"),
    ],
)
def test_a_second_set_of_weights_is_never_passed_over(keys, state_dict):
    first, second = keys
    saved = {first: state_dict, "epoch": 3, second: {"state": state_dict}}
    refused(saved, "several sets of weights", repr(first), f"'{second}.state'")
    refused(state_dict | {"best": state_dict}, "several sets of weights ('', 'best')")
    refused([state_dict, state_dict], "several sets of weights ('0', '1')")


@pytest.mark.parametrize("key", ["modelEMA", "emaModel", "EMAModel", "net_ema"])
def test_averages_by_any_spelling(key, state_dict, averaged, variables, caplog):
    saved = {"model": state_dict, key: {"module": averaged}}
    ours = taken(saved, caplog, f"averaged ones ('{key}.module')")
    assert scale(ours, variables) == 1
    ours = interop.from_torch(NAME, saved, SOURCE, weights="ema")
    assert scale(ours, variables) == EMA


def test_sets_of_something_else_are_no_second_choice(state_dict, variables, caplog):
    loss = {"center": np.zeros(3), "conv1.weight": np.zeros(2)}
    saved = {"net": state_dict, "model": loss, "best_error": np.float64(0.3)}
    same(taken(saved, caplog), variables)


def test_entries_that_are_no_tensors(state_dict, variables, caplog):
    said = "not tensors were ignored (epoch, layer1._extra_state, optimizer)"
    mixed = {"epoch": 3, "layer1._extra_state": None, "optimizer": {"lr": 0.1}}
    same(taken(state_dict | mixed, caplog, said), variables)


def test_wrapped_as_deep_as_anyone_likes(state_dict, variables, caplog):
    same(taken({"a": {"b": [{"c": {"d": state_dict}}]}}, caplog), variables)


def of_averaged_model(state_dict, averaged):
    """`torch.optim.swa_utils.AveragedModel`, in the checkpoint of torchvision."""
    ema = under("module.", averaged) | {"n_averaged": np.array(7)}
    return {"model": state_dict, "model_ema": ema, "epoch": 3}


def of_timm(state_dict, averaged):
    return {"state_dict": state_dict, "state_dict_ema": averaged, "arch": "resnet20"}


def of_lightning(state_dict, averaged):
    flat = under("model.", state_dict) | under("ema_model.", averaged)
    return {"state_dict": flat, "hyper_parameters": {"mean": np.zeros(3)}}


def beside_each_other(state_dict, averaged):
    """Averages of the parameters only, without running statistics."""
    params = {k: v for k, v in averaged.items() if "running" not in k}
    return state_dict | under("ema.module.", state_dict | params)


@pytest.mark.parametrize(
    "saved", [of_averaged_model, of_timm, of_lightning, beside_each_other]
)
def test_raw_and_averaged_weights_in_one_file(
    saved, state_dict, averaged, variables, caplog
):
    both = saved(state_dict, averaged)
    said = ("raw weights", "averaged", "raw ones were loaded, weights='ema'")
    assert scale(taken(both, caplog, *said), variables) == 1
    given = [interop.from_torch(NAME, both, SOURCE, weights=w) for w in ("raw", "ema")]
    assert [scale(ours, variables) for ours in given] == [1, EMA]
    refused(both, "unknown weights 'swa'", weights="swa")


def test_averaged_weights_alone(state_dict, variables, caplog):
    alone = under("module.", state_dict) | {"n_averaged": np.array(7)}
    said = ("it contains only averaged weights", "counters were ignored (n_averaged)")
    same(taken(alone, caplog, *said), variables)
    same(interop.from_torch(NAME, {"ema": alone}, SOURCE, weights="ema"), variables)
    refused(alone, "contains only averaged weights", weights="raw")
    refused({"model": state_dict}, "contains only raw weights", weights="ema")


def test_the_real_averaged_model_of_torch(torch, tmp_path, caplog):
    net = torch.nn.Module()
    names = interop.to_torch(NAME, drawn(NAME), SOURCE)
    for (
        key,
        value,
    ) in names.items():  # a module with these names, which computes nothing
        *path, leaf = key.split(".")
        module = net
        for part in path:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module._modules[part]
        module.register_buffer(leaf, torch.tensor(value))
    averaged = torch.optim.swa_utils.AveragedModel(net)
    torch.save({"model_ema": averaged.state_dict()}, tmp_path / "last.ckpt")
    ours = interop.load(NAME, tmp_path / "last.ckpt", source=SOURCE)
    same(ours, drawn(NAME))
    assert "weight file" in caplog.text


def test_a_real_checkpoint_of_timm(torch, tmp_path, caplog):
    """Written by timm's own saver, with its average and the arguments of a run."""
    peers = pytest.importorskip("tests.peers")
    small = {"layers": (1, 1, 1, 1), "channels": (8, 8, 8, 8), "num_classes": 5}
    net = peers.peer("timm", "resnet18", **small).float()
    utils = pytest.importorskip("timm.utils")
    average = utils.ModelEmaV3(net, decay=0.5)
    with torch.no_grad():
        net.fc.weight.mul_(3)
    average.update(net)
    saver = utils.CheckpointSaver(
        model=net,
        optimizer=torch.optim.SGD(net.parameters(), 0.1, momentum=0.9),
        args=argparse.Namespace(model="resnet18", lr=np.float64(0.1), classes=[5]),
        model_ema=average,
        checkpoint_dir=str(tmp_path),
    )
    saver.save_checkpoint(3, metric=np.float64(71.5))
    arguments = {"num_blocks": (1, 1, 1, 1), "widths": (8, 8, 8, 8), "num_classes": 5}
    for weights, module in (("raw", net), ("ema", average.module)):
        ours = interop.load(
            "resnet18",
            tmp_path / "last.pth.tar",
            source="timm",
            weights=weights,
            **arguments,
        )
        kernel = ours["params"]["head"]["kernel"]
        np.testing.assert_array_equal(kernel.T, module.fc.weight.detach().numpy())
    assert not caplog.records


def test_counters_of_thop(state_dict, variables, caplog):
    counted = dict(state_dict)
    for name in ("", "layer1.0.", "layer1.0.conv1."):
        counted |= {f"{name}total_ops": np.zeros(1), f"{name}total_params": np.ones(1)}
    said = "counters were ignored (total_ops, total_params)"
    same(taken(counted, caplog, said), variables)


def harmless():
    return {
        "args": argparse.Namespace(lr=0.1, data=pathlib.Path("data")),
        "best": np.float64(91.2),
        "losses": np.arange(3.0),
        "when": datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.UTC),
        "path": pathlib.PurePosixPath("runs/1"),
        "history": collections.OrderedDict(epoch=[1, 2]),
        "kind": np.dtype("float32"),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_harmless_objects_in_a_file(torch, tmp_path, zipped, state_dict, variables):
    tensors = {key: torch.tensor(value) for key, value in state_dict.items()}
    saved = {"state_dict": tensors, "size": torch.Size([3]), **harmless()}
    path = tmp_path / "model_best.pth.tar"
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    same(interop.load(NAME, path, source=SOURCE), variables)


def test_containers_of_objects_in_a_file(torch, tmp_path, state_dict, variables):
    tensors = {key: torch.tensor(value) for key, value in state_dict.items()}
    meters = collections.defaultdict(list, loss=[0.5])
    path = tmp_path / "net.pth"
    torch.save({"meters": meters, "net": collections.defaultdict(int, tensors)}, path)
    same(interop.load(NAME, path, source=SOURCE), variables)
    torch.save({"model": state_dict}, path)
    with pytest.raises(UserError, match=r"arrays of NumPy, .*`numpy.savez\(path"):
        interop.load(NAME, path, source=SOURCE)


class Settings(dict):
    """An object of an unknown class."""


def test_the_line_that_converts_a_file_with_other_objects(torch, tmp_path):
    torch.save({"state_dict": {}, "config": Settings(a=1)}, tmp_path / "net.pth")
    with pytest.raises(UserError) as caught:
        interop.load(NAME, tmp_path / "net.pth", source=SOURCE)
    one_sentence(
        caught,
        [
            "test_wrappers.Settings), which could run code",
            "torch.save(torch.load(path, weights_only=False)['state_dict'], new)",
        ],
    )


def test_a_head_for_another_task(state_dict, variables, caplog):
    """Everything except the head, which keeps the initial values of a training run."""
    said = ("head left at the initial values of seed 3",)
    arguments = {"initial_head": True, "seed": 3, "num_classes": 7}
    ours = taken(state_dict, caplog, *said, **arguments)
    assert ours["params"]["head"]["kernel"].shape == (64, 7)
    fresh = drawn(NAME, seed=3, num_classes=7)
    same(ours["params"]["head"], fresh["params"]["head"])
    same(ours["params"] | {"head": None}, variables["params"] | {"head": None})
    same(ours["batch_stats"], variables["batch_stats"])
    without = {k: v for k, v in state_dict.items() if not k.startswith("linear.")}
    same(taken(without, caplog, *said, **arguments), ours)
    refused(without, "they have no head: initial_head=True")
    del without["conv1.weight"]
    refused(without, "1 missing: conv1.weight", **arguments)


@pytest.mark.slow
def test_auxiliary_heads_for_another_task(caplog):
    name, small = (
        "googlenet",
        {"num_blocks": (2, 2, 2), "width": 0.25, "num_classes": 9},
    )
    weights = interop.to_torch(name, drawn(name, **small), **small)
    arguments = small | {"num_classes": 4, "initial_head": True}
    ours = interop.from_torch(name, weights, **arguments)
    assert "auxiliary_shallow/head, head left at" in caplog.text
    params = ours["params"]["auxiliary_shallow"]
    assert params["head"]["kernel"].shape[-1] == 4
    kernel = weights["aux1.fc1.weight"]
    np.testing.assert_array_equal(params["dense"]["kernel"], kernel.T)
    bare = {k: v for k, v in weights.items() if not k.startswith("aux")}
    ours = interop.from_torch(name, bare, **arguments)
    fresh = drawn(name, **small | {"num_classes": 4})["params"]["auxiliary_shallow"]
    same(ours["params"]["auxiliary_shallow"], fresh)
    with pytest.raises(UserError, match="no auxiliary heads: auxiliary_heads=False"):
        interop.from_torch(name, bare, **small)


def test_a_stem_for_other_channels(caplog):
    """The number of channels follows the given stem, unless a shape is given."""
    ours = drawn(NAME, input_shape=(28, 28, 1))
    weights = interop.to_torch(NAME, ours, SOURCE)
    assert weights["conv1.weight"].shape == (16, 1, 3, 3)
    same(taken(weights, caplog, "its stem is for 1 channels"), ours)
    same(taken(weights, caplog, input_shape=(28, 28, 1)), ours)
    refused(weights, "input_shape=(32, 32, 1)", input_shape=(32, 32, 3))
    for shape in ((28, 28), 28, (28, 28, 0)):
        refused(weights, "give (height, width, channels)", input_shape=shape)
    scanned = drawn(NAME, input_shape=(8, 8, 5), scan_blocks=True)
    weights = interop.to_torch(NAME, scanned, SOURCE, scan_blocks=True)
    assert weights["conv1.weight"].shape[1] == 5
    ours = interop.from_torch(NAME, weights, SOURCE, scan_blocks=True)
    same(ours, scanned)
