"""The nets of `nets.py` in torch, written as its users would, to compare speed with.

torch is imported by whoever asks for a net, not by the other suites.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def conv_bn(channels, width, size, stride=1, groups=1, bias=False):
    """Convolution, batch norm and ReLU."""
    conv = nn.Conv2d(channels, width, size, stride, size // 2, 1, groups, bias)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


class Block(nn.Module):
    """A basic residual block; `project` chooses the shortcut of a new shape."""

    def __init__(self, channels: int, width: int, stride: int, project: bool):
        super().__init__()
        conv = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        norm = nn.BatchNorm2d(width)
        self.branch = nn.Sequential(conv_bn(channels, width, 3, stride), conv, norm)
        self.stride, self.extra = stride, width - channels
        self.shortcut = None
        if project and (stride > 1 or self.extra):
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False),
                nn.BatchNorm2d(width),
            )

    def forward(self, x):
        y = self.branch(x)
        if self.shortcut is not None:
            x = self.shortcut(x)
        elif self.extra:
            x = x[:, :, :: self.stride, :: self.stride]
            x = functional.pad(x, (0, 0, 0, 0, 0, self.extra))
        return functional.relu(x + y, inplace=True)


def stages(channels: int, widths: tuple[int, ...], count: int, project: bool):
    """Stages of equal blocks; each but the first halves the map."""
    blocks = []
    for stage, width in enumerate(widths):
        for i in range(count):
            stride = 2 if stage and i == 0 else 1
            blocks.append(Block(channels, width, stride, project))
            channels = width
    return blocks


def pooled_head(channels: int, num_classes: int):
    """Average pool and linear classifier."""
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)


def cifar_resnet(depth: int):
    """He et al. 2015, section 4.2, option A."""
    blocks = stages(16, (16, 32, 64), (depth - 2) // 6, project=False)
    return nn.Sequential(conv_bn(3, 16, 3), *blocks, *pooled_head(64, 10))


def resnet18():
    """He et al. 2015, table 1."""
    stem = conv_bn(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)
    blocks = stages(64, (64, 128, 256, 512), 2, project=True)
    return nn.Sequential(*stem, *blocks, *pooled_head(512, 1000))


def vgg16_bn_cifar():
    """Configuration D of Simonyan and Zisserman 2014, one linear layer for a head."""
    layers, channels = [], 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers.append(conv_bn(channels, width, 3, bias=True))
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, *pooled_head(512, 10))


def mobilenet_v1():
    """Howard et al. 2017, table 1."""
    widths = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    layers, channels = [conv_bn(3, 32, 3, 2)], 32
    for width, stride in zip(widths, strides, strict=True):
        layers.append(conv_bn(channels, channels, 3, stride, groups=channels))
        layers.append(conv_bn(channels, width, 1))
        channels = width
    return nn.Sequential(*layers, *pooled_head(1024, 1000))


class Dense(nn.Module):
    """A bottleneck layer of a dense block."""

    def __init__(self, channels: int, growth: int):
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            conv_bn(channels, 4 * growth, 1),
            nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False),
        )

    def forward(self, x):
        return torch.cat([x, self.branch(x)], 1)


def densenet_bc40():
    """Huang et al. 2016, section 3: growth rate 12, compression 0.5, for CIFAR."""
    channels, growth = 24, 12
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, 1, 1, bias=False)]
    for block in range(3):
        for _ in range(6):
            layers.append(Dense(channels, growth))
            channels += growth
        layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        if block < 2:
            conv = nn.Conv2d(channels, channels // 2, 1, bias=False)
            layers += [conv, nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*layers, *pooled_head(channels, 10))


# By model of `nets.NETS`.
BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet20_cifar": lambda: cifar_resnet(20),
    "resnet56_cifar": lambda: cifar_resnet(56),
    "vgg16_bn_cifar": vgg16_bn_cifar,
    "resnet18": resnet18,
    "mobilenet_v1": mobilenet_v1,
    "densenetbc100_12_cifar": densenet_bc40,
}


# Ours -> in timm; the others that `BUILDERS` lacks are those of torchvision.
IN_TIMM = {"se_resnet50": "legacy_seresnet50", "inception_v4": "inception_v4"}
# Without auxiliary heads, and with weights that are drawn fast.
ARGUMENTS: dict[str, dict[str, bool]] = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
}


def build(model: str, num_params: int) -> nn.Module:
    """The net, channels last, with as many parameters as ours.

    Raises:
      ValueError: it has another number of parameters: not the same net.
    """
    torch.manual_seed(0)
    net = BUILDERS[model]() if model in BUILDERS else published(model)
    own = sum(p.numel() for p in net.parameters())
    if own != num_params:
        raise ValueError(f"{model} has {own} parameters in torch, {num_params} here")
    return net.to(memory_format=torch.channels_last)


def published(model: str) -> nn.Module:
    """The net of torchvision or timm."""
    # torchvision wants two compiled operators that its classifiers never call.
    with contextlib.suppress(RuntimeError):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou) -> Tensor")
        _declared.append(library)
    if model in IN_TIMM:
        import timm

        return timm.create_model(IN_TIMM[model])
    import torchvision

    arguments = ARGUMENTS.get(model, {})
    return torchvision.models.get_model(model, weights=None, **arguments)


_declared: list[Any] = []  # a library's declarations end with it


def channels_first(net: nn.Module, images: Any, labels: Any) -> tuple[nn.Module, Any]:
    """Net and batch in torch's own layout."""
    images = images.contiguous(memory_format=torch.contiguous_format)
    return net.to(memory_format=torch.contiguous_format), (images, labels)


def compiled(net: nn.Module) -> Any:
    """The net through `torch.compile`."""
    return torch.compile(net)


def images_like(batch_size: int, size: int, classes: int) -> tuple[Any, Any]:
    """A batch of random images, channels last, and labels."""
    images = torch.rand(batch_size, 3, size, size)
    labels = torch.randint(classes, (batch_size,))
    return images.contiguous(memory_format=torch.channels_last), labels


def training_step(net: nn.Module, images: Any, labels: Any) -> Callable[[], object]:
    """Forward, backward, SGD with momentum and weight decay."""
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, foreach=True
    )
    net.train()

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def compiled_step(net: Any) -> Callable[[], object]:
    """A compiled bfloat16 step of torchvision's net of that name, on the accelerator.

    Args:
      net: a `nets.Net`.
    """
    import torchvision

    peer = torchvision.models.get_model(net.model, weights=None).cuda()
    peer = torch.compile(peer.to(memory_format=torch.channels_last))
    images, labels = images_like(net.batch_size, net.image_size, net.num_classes)
    step = training_step(peer, images.cuda(), labels.cuda())

    def run():
        with torch.autocast("cuda", torch.bfloat16):
            return step()

    return run


def inference(net: nn.Module, images: Any) -> Callable[[], object]:
    """Logits of a batch, in evaluation."""
    net.eval()

    def run():
        with torch.inference_mode():
            return net(images)

    return run
