"""Suite views: maps of saliency of a batch, in cnnjax and by captum in torch."""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import interleave
from benchmarks.nets import NETS
from benchmarks.rows import Row, rows_of
from cnnjax.devices import parallel
from cnnjax.errors import UserError
from cnnjax.run.provenance import package_version
from cnnjax.run.setup import initial_state, set_up
from cnnjax.views import class_maps, saliency

NET = "CIFAR ResNet-20, batch 128"
IMAGES = 16
STEPS = 20  # of the integrated gradients
WINDOW, STRIDE = 8, 4
LAYER = "stage3_block3"
METHODS: dict[str, Callable] = {
    "gradient": saliency.gradient,
    f"integrated gradients, {STEPS} steps": functools.partial(
        saliency.integrated_gradients, steps=STEPS
    ),
    f"occlusion, {WINDOW} px every {STRIDE}": functools.partial(
        saliency.occlusion, window=WINDOW, stride=STRIDE
    ),
    "Grad-CAM, last block": functools.partial(class_maps.grad_cam, layer=LAYER),
}


def suite(options) -> list[Row]:
    """A case for every method whose name contains `options.only`.

    Raises:
      UserError: captum is wanted and missing.
    """
    if options.against and importlib.util.find_spec("captum") is None:
        raise UserError(
            "suite views compares with captum, which is not installed (extra `peers`): "
            "leave out --against to measure without it"
        )
    run = set_up(NETS[NET].config(1))
    state = jax.tree.map(lambda leaf: leaf[0], initial_state(run))
    variables = {"params": state.params, **state.model_state}
    stream = np.random.RandomState(0)
    images = stream.standard_normal((IMAGES, 32, 32, 3)).astype(np.float32)
    targets = stream.randint(0, 10, IMAGES)
    rows = []
    for name, method in METHODS.items():
        if options.only.lower() not in name.lower():
            continue
        ways = {"cnnjax": compiled(method, run.model, variables, images, targets)}
        if options.against:
            ways["captum"] = by_captum(name, run.num_params, images, targets)
        times = interleave(ways, rounds=options.rounds)
        reference = "captum" if options.against else "cnnjax"
        case = f"{name}: ResNet-20, {IMAGES} images"
        notes = {"captum": f"captum {package_version('captum')}"}
        given = (case, times, reference)
        rows += rows_of(*given, unit="batch", images=IMAGES, notes=notes)
    return rows


def compiled(method, model, variables, images, targets) -> Callable[[], Any]:
    """One of our methods as a compiled program."""
    arguments = parallel.to_device((variables, jnp.asarray(images)))
    program = parallel.compile_program(
        lambda variables, x: method(model, variables, x, jnp.asarray(targets)),
        arguments,
    )
    return lambda: jax.block_until_ready(program(*arguments))


def by_captum(name: str, num_params: int, images, targets) -> Callable[[], Any]:
    """The same method by captum, of the same net in torch, channels last."""
    import torch
    from captum import attr

    from benchmarks.peers import torch_nets

    net = torch_nets.build("resnet20_cifar", num_params).eval()
    x = torch.tensor(images.transpose(0, 3, 1, 2))
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    target = torch.tensor(targets)
    window, stride = (3, WINDOW, WINDOW), (3, STRIDE, STRIDE)
    last_block = [m for m in net if isinstance(m, torch_nets.Block)][-1]
    calls: dict[str, Callable[[], Any]] = {
        "gradient": lambda: attr.Saliency(net).attribute(x, target=target),
        "integrated": lambda: attr.IntegratedGradients(net).attribute(
            x, target=target, n_steps=STEPS
        ),
        "occlusion": lambda: attr.Occlusion(net).attribute(
            x, window, stride, target=target
        ),
        "Grad-CAM": lambda: attr.LayerGradCam(net, last_block).attribute(
            x, target=target
        ),
    }
    return next(call for key, call in calls.items() if name.startswith(key))
