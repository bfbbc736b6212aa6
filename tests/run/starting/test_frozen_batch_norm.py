"""Batch norm under transfer in its four ways, against torch in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from cnnjax.layers.norm import Norm
from cnnjax.models.registry import create_model
from cnnjax.net.held import statistics_paths
from cnnjax.net.initialize import init_variables
from cnnjax.training.hyperparameters import Hyperparameters
from cnnjax.training.loss import make_loss
from cnnjax.training.optimizer import make_optimizer
from cnnjax.training.state import TrainState
from cnnjax.training.step import make_train_step
from cnnjax.training.trainable import Group, Trainable

torch = pytest.importorskip("torch", reason="compares with torch: extra `peers`")

RATE, STEPS, CLASSES = 0.1, 3, 3
NORMS = ("norm/scale", "norm/bias")


def images_of(step):
    draw = np.random.default_rng(step)
    return draw.normal(size=(6, 4, 4, 2)), draw.integers(0, CLASSES, 6).astype(np.int32)


def ours(stay, fixed):
    """Parameters and statistics after some steps, and those of the start."""
    model = create_model(
        "convnet_digits",
        widths=(4,),
        num_convs=1,
        num_classes=CLASSES,
        norm=Norm("batch"),
        dtype="float64",
    )
    variables = init_variables(model, (4, 4, 2), (0,))
    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf[0], jnp.float64), variables)
    stats = variables["batch_stats"]["stage1_conv1"]["norm"]
    stats |= {"mean": stats["mean"] + 0.1, "var": stats["var"] * 1.5}
    params = variables.pop("params")
    flat = traverse_util.flatten_dict(params, sep="/")
    kept = [path for path in flat if not (fixed and path.endswith(NORMS))]
    trainable = Trainable((Group(0, tuple((path, 1.0) for path in kept)),))
    made = make_optimizer(
        {},
        name="sgd",
        momentum=0.9,
        nesterov=False,
        b1=0.9,
        b2=0.99,
        epsilon=1e-8,
        weight_decay=0.01,
        decay="coupled",
        decay_exclude=(),
        clip_norm=0.0,
    )
    loss: Hyperparameters = make_loss("cross_entropy", 0.0, 0.0, 0.0)
    step = make_train_step(
        model,
        made.static,
        lambda key, images, labels: (images, jax.nn.one_hot(labels, CLASSES)),
        kind=loss.static,
        trainable=trainable,
        stays=statistics_paths(variables) if stay else (),
    )
    state = TrainState(0, params, variables, trainable.init(made.static, params), None)
    numbers = {"optimizer": made.traced, "loss": loss.traced}
    for i in range(STEPS):
        images, labels = images_of(i)
        batch = {"images": jnp.asarray(images), "labels": labels, "seed": np.int32(0)}
        state, _ = step(state, batch, RATE, numbers)
    return {"params": state.params, **state.model_state}, {"params": params} | variables


class Peer(torch.nn.Module):
    def __init__(self, start):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(4)
        self.head = torch.nn.Linear(4, CLASSES)
        self.double()
        with torch.no_grad():
            for own, value in self.pairs(start):
                own.copy_(torch.tensor(np.array(value)))

    def pairs(self, tree):
        unit = tree["params"]["stage1_conv1"]
        stats = tree["batch_stats"]["stage1_conv1"]["norm"]
        return [
            (self.conv.weight, np.transpose(unit["conv"]["kernel"], (3, 2, 0, 1))),
            (self.norm.weight, unit["norm"]["scale"]),
            (self.norm.bias, unit["norm"]["bias"]),
            (self.norm.running_mean, stats["mean"]),
            (self.norm.running_var, stats["var"]),
            (self.head.weight, np.transpose(tree["params"]["head"]["kernel"])),
            (self.head.bias, tree["params"]["head"]["bias"]),
        ]

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        return self.head(torch.nn.functional.max_pool2d(x, 2).mean((2, 3)))


@pytest.mark.parametrize("stay", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
def test_four_ways_of_batch_norm_are_those_of_torch(stay, fixed):
    with jax.enable_x64(True):
        found, start = jax.tree.map(np.asarray, ours(stay, fixed))
    net = Peer(start)
    if stay:
        net.norm.eval()
    for parameter in net.norm.parameters():
        parameter.requires_grad_(not fixed)
    own = [p for p in net.parameters() if p.requires_grad]
    made = torch.optim.SGD(own, lr=RATE, momentum=0.9, weight_decay=0.01)
    for i in range(STEPS):
        images, labels = images_of(i)
        made.zero_grad()
        logits = net(torch.tensor(images.transpose(0, 3, 1, 2)))
        labels = torch.tensor(labels.astype(np.int64))
        torch.nn.functional.cross_entropy(logits, labels).backward()
        made.step()
    for theirs, value in net.pairs(found):
        np.testing.assert_allclose(value, theirs.detach().numpy(), rtol=1e-9)
    pairs = zip(net.pairs(found), net.pairs(start), strict=True)
    same = [np.array_equal(now[1], before[1]) for now, before in pairs]
    assert same == [False, fixed, fixed, stay, stay, False, False]
