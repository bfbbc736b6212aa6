"""Records the outputs of the public CIFAR-10 ports with seeded weights, in float64.

    git clone https://github.com/akamaster/pytorch_resnet_cifar10 A
    git clone https://github.com/kuangliu/pytorch-cifar K
    python -m tests.interop.names.record_ports --akamaster=A --kuangliu=K

needs torch and writes `tests/interop/recorded/*.json`: names and shapes of the weights,
logits of a few images, and, of a training step, the loss with every gradient and moved
statistic as one number each. None of the ports' code or weights is stored.
"""

import argparse
import importlib
import json
import pathlib
import subprocess
import sys

import torch

from tests.interop.seeded import (
    projection,
    seeded_images,
    seeded_labels,
    seeded_weights,
)

FOLDER = pathlib.Path(__file__).parent / "recorded"


def akamaster(path):
    sys.path.insert(0, path)
    resnet = importlib.import_module("resnet")

    class WithProjections(resnet.BasicBlock):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, option="B", **kwargs)

    shallow = [1, 1, 1]
    return {
        "resnet20": (resnet.resnet20(), 32, False),
        "resnet8": (resnet.ResNet(resnet.BasicBlock, shallow), 16, True),
        "resnet8_B": (resnet.ResNet(WithProjections, shallow), 16, False),
    }


def kuangliu(path):
    sys.path.insert(0, str(pathlib.Path(path) / "models"))
    sys.modules.pop("resnet", None)
    resnet, vgg = map(importlib.import_module, ("resnet", "vgg"))
    return {
        "bottleneck14": (resnet.ResNet(resnet.Bottleneck, [1] * 4), 32, False),
        "vgg11": (vgg.VGG("VGG11"), 32, False),
    }


def loaded(net):
    """The net with seeded weights, and the shapes of those."""
    shapes = {
        name: list(value.shape)
        for name, value in net.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    weights = seeded_weights(shapes)
    net.double().load_state_dict(
        {name: torch.tensor(value) for name, value in weights.items()}, strict=False
    )
    return net, shapes


def in_torch(images):
    return torch.tensor(images.transpose(0, 3, 1, 2))


def training(net, images):
    """Loss, gradients and statistics of one step, as one number per tensor."""
    labels = torch.tensor(seeded_labels(len(images)))
    loss = torch.nn.functional.cross_entropy(net.train()(in_torch(images)), labels)
    loss.backward()
    return {
        "loss": loss.item(),
        "gradients": {n: projection(n, v.grad) for n, v in net.named_parameters()},
        "statistics": {
            n: projection(n, v) for n, v in net.named_buffers() if v.ndim == 1
        },
    }


def record(port, commit, net, size, trains):
    net, shapes = loaded(net)
    num_images = 4 if trains else 2
    images = seeded_images(num_images, size)
    with torch.no_grad():
        logits = net.eval()(in_torch(images)).tolist()
    made = {"port": port, "commit": commit, "torch": torch.__version__}
    made |= {"size": size, "shapes": shapes, "logits": logits}
    return made | ({"training": training(net, images)} if trains else {})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--akamaster", required=True, help="checkout of the port")
    parser.add_argument("--kuangliu", required=True, help="checkout of the port")
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    for port, path, nets in (
        ("akamaster/pytorch_resnet_cifar10", arguments.akamaster, akamaster),
        ("kuangliu/pytorch-cifar", arguments.kuangliu, kuangliu),
    ):
        git = ["git", "-C", path, "rev-parse", "HEAD"]
        commit = subprocess.check_output(git, text=True).strip()
        for name, net in nets(path).items():
            made = record(port, commit, *net)
            (FOLDER / f"{name}.json").write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
