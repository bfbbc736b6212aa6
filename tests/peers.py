"""Nets of torchvision and timm as witnesses: build, randomise, compare with ours.

Everything is compared in float64, where two right programs agree to about 1e-10 and a
wrong epsilon or padding does not hide behind rounding.
"""

import contextlib

import jax
import numpy as np
import pytest

from cnnjax import interop
from cnnjax.analysis.features import features
from cnnjax.interop.convert import slots_of
from cnnjax.models.registry import create_model, variant
from cnnjax.net.forward import forward_train
from cnnjax.training.loss import cross_entropy

torch = pytest.importorskip("torch", reason="compares with torch: extra `peers`")

CLOSE = {"rtol": 1e-6, "atol": 1e-9}


def _declare_operators():
    """torchvision wants two compiled operators that its classifiers never call."""
    with contextlib.suppress(RuntimeError):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou) -> Tensor")
        return library


_library = _declare_operators()


def peer(source, name, **arguments):
    """A net of torchvision or timm with random weights and statistics, in float64."""
    torch.manual_seed(0)
    return randomised(_build(source, name, arguments).double())


def _build(source, name, arguments):
    reason = f"compares with {source}: extra `peers`"
    package = pytest.importorskip(source, reason=reason, exc_type=ImportError)
    if source == "timm":
        return package.create_model(name, **arguments)
    if name in ("googlenet", "inception_v3"):
        arguments = {"init_weights": False, **arguments}
    return package.models.get_model(name, weights=None, **arguments)


def randomised(net):
    """Norms and biases away from their start, or one that is missing goes unseen."""
    with torch.no_grad():
        for name, value in [*net.named_parameters(), *net.named_buffers()]:
            if not value.is_floating_point():
                continue
            if name.endswith("running_var") or value.ndim == 1:
                value.add_(0.2 * torch.rand_like(value))
            elif name.endswith("running_mean"):
                value.copy_(0.2 * torch.randn_like(value))
    return net


def arrays(net):
    """Its state dict, in NumPy."""
    return {name: value.detach().numpy() for name, value in net.state_dict().items()}


def images_of(size, num_images=2, channels=3, seed=0):
    stream = np.random.RandomState(seed)
    return stream.standard_normal((num_images, size, size, channels))


def in_torch(images):
    return torch.tensor(images.transpose(0, 3, 1, 2))


def check_names(name, source, **arguments):
    """Names and shapes of a whole net, of which no weight is drawn on either side."""
    with torch.device("meta"):
        theirs = _build(source, name, arguments).state_dict()
    shapes = {
        key: tuple(value.shape)
        for key, value in theirs.items()
        if not key.endswith("num_batches_tracked")
    }
    entry = variant(name)
    namer = interop.NAMES[entry.build, source]
    slots = slots_of(create_model(name), entry.input_shape, namer)
    assert {slot.name: slot.torch_shape for slot in slots} == shapes


def convolutions_of(model, name, source):
    """Path of every convolution and dense layer of ours -> its name in the source."""
    entry = variant(name)
    slots = slots_of(model, entry.input_shape, interop.NAMES[entry.build, source])
    return {
        "/".join(slot.path[1:-1]): slot.name.removesuffix(".weight")
        for slot in slots
        if slot.path[-1] == "kernel"
    }


def outputs_of(net, names, images):
    """Outputs of a torch net's modules by name, channels last; the logits as ''."""
    seen, hooks = {}, []

    def recorder(name):
        def record(module, args, output):
            output = output.detach().clone()  # activations work in place
            seen[name] = (
                output.permute(0, 2, 3, 1) if output.ndim == 4 else output
            ).numpy()

        return record

    for name, module in net.named_modules():
        if name in names:
            hooks.append(module.register_forward_hook(recorder(name)))
    with torch.no_grad():
        seen[""] = net(in_torch(images)).numpy()
    for hook in hooks:
        hook.remove()
    return seen


def check_evaluation(name, source, size, net=None, **overrides):
    """An evaluation, and the way back of the weights to the last bit.

    The outputs of all convolutions and dense layers are compared, not the logits alone.
    """
    net = peer(source, name) if net is None else net
    state_dict = arrays(net)
    images = images_of(size)
    with jax.enable_x64(True):
        variables = interop.from_torch(name, state_dict, source=source, **overrides)
        model = create_model(name, dtype="float64", **overrides)
        layers = convolutions_of(model, name, source)
        # An evaluation skips auxiliary heads.
        wanted = ["", *(path for path in layers if not path.startswith("auxiliary"))]
        ours = jax.jit(lambda v, x: features(model, v, x, wanted))(variables, images)
    ours = jax.tree.map(np.asarray, ours)
    theirs = outputs_of(net.eval(), set(layers.values()), images)
    assert np.abs(theirs[""]).max() > 1e-3
    np.testing.assert_allclose(ours[""], theirs[""], **CLOSE)
    for path, output in ours.items():
        if path:
            expected = theirs[layers[path]].reshape(output.shape)
            scale = max(np.abs(expected).max(), 1e-3)
            np.testing.assert_allclose(
                output / scale, expected / scale, atol=1e-8, err_msg=path
            )
    back = interop.to_torch(name, variables, source=source, **overrides)
    assert back.keys() == state_dict.keys()
    for key, value in state_dict.items():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(back[key], value, err_msg=key)


def check_training(
    name, source, size, net=None, num_images=4, auxiliary_weight=0.3, **overrides
):
    """Loss, gradients and running statistics of one batch in training mode.

    Dropout must be off on both sides: pass its rate among the overrides.
    """
    net = peer(source, name) if net is None else net
    before = arrays(net)
    images = images_of(size, num_images)
    num_classes = overrides.get("num_classes", 1000)
    labels = np.random.RandomState(1).randint(0, num_classes, num_images)

    def loss(params, state, images):
        key = jax.random.key(0)
        logits, auxiliary, state = forward_train(model, params, state, images, key)
        targets = jax.nn.one_hot(labels, num_classes, dtype=logits.dtype)
        total = cross_entropy(logits, targets).mean()
        for head in auxiliary:
            total += auxiliary_weight * cross_entropy(head, targets).mean()
        return total, (logits, state)

    with jax.enable_x64(True):
        variables = interop.from_torch(name, before, source=source, **overrides)
        model = create_model(name, dtype="float64", **overrides)
        state = {c: v for c, v in variables.items() if c != "params"}
        run = jax.jit(jax.value_and_grad(loss, has_aux=True))
        (ours, (logits, state)), grads = run(variables["params"], state, images)

    net.train()
    outputs = net(in_torch(images))
    heads = list(outputs) if isinstance(outputs, tuple) else [outputs]
    heads = [heads[0]] + [h for h in heads[1:] if h is not None]
    terms = [torch.nn.functional.cross_entropy(h, torch.tensor(labels)) for h in heads]
    theirs = terms[0] + auxiliary_weight * sum(terms[1:])
    theirs.backward()
    np.testing.assert_allclose(logits, heads[0].detach().numpy(), **CLOSE)
    np.testing.assert_allclose(ours, theirs.item(), **CLOSE)
    # Converting is linear, so that gradients travel like weights.
    back = interop.to_torch(
        name, {"params": grads, **state}, source=source, **overrides
    )
    for key, value in net.named_parameters():
        scale = max(float(value.grad.abs().max()), 1e-6)
        np.testing.assert_allclose(
            back[key] / scale, value.grad.numpy() / scale, atol=1e-6, err_msg=key
        )
    for key, value in net.named_buffers():
        if value.is_floating_point():
            np.testing.assert_allclose(back[key], value, err_msg=key, **CLOSE)
