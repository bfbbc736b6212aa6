"""CIFAR residual nets in torch, named like the public ports, and our weights in them.

Written from He et al. 2015, section 4.2, and He et al. 2016, figure 4 (e), with the
choices that those leave open made as in ours: zero channels behind the others. What the
ports of others compute is recorded in `tests/interop/recorded`.
"""

import numpy as np
import torch
from flax.traverse_util import flatten_dict
from torch import nn
from torch.nn import functional


class PadShortcut(nn.Module):
    """Option A: every second pixel, zero channels behind the others."""

    def __init__(self, stride, extra):
        super().__init__()
        self.stride, self.extra = stride, extra

    def forward(self, x):
        x = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(x, (0, 0, 0, 0, 0, self.extra))


def convolution(channels, features, size, stride=1):
    return nn.Conv2d(channels, features, size, stride, size // 2, bias=False)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, channels, width, stride, option):
        super().__init__()
        self.conv1 = convolution(channels, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = shortcut(channels, width, stride, option)

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, channels, width, stride, option):
        super().__init__()
        self.conv1 = convolution(channels, width, 1, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.shortcut = shortcut(channels, 4 * width, stride, option)

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class PreActBlock(nn.Module):
    expansion = 1

    def __init__(self, channels, width, stride, option):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = convolution(channels, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3)
        self.shortcut = shortcut(channels, width, stride, option)
        self.first = False

    def forward(self, x):
        y = functional.relu(self.bn1(x))
        skip = self.shortcut(y if self.first else x)
        return self.conv2(functional.relu(self.bn2(self.conv1(y)))) + skip


def shortcut(channels, features, stride, option):
    if option == "B" and (stride != 1 or channels != features):
        return nn.Sequential(
            convolution(channels, features, 1, stride), nn.BatchNorm2d(features)
        )
    return PadShortcut(stride, features - channels)


class ResNet(nn.Module):
    def __init__(self, block, blocks_per_stage, widths, option="A", channels=3):
        super().__init__()
        self.pre = block is PreActBlock
        self.conv1 = convolution(channels, widths[0], 3)
        if not self.pre:
            self.bn1 = nn.BatchNorm2d(widths[0])
        channels = widths[0]
        for stage, width in enumerate(widths, start=1):
            blocks = []
            for i in range(blocks_per_stage):
                stride = 2 if stage > 1 and i == 0 else 1
                blocks.append(block(channels, width, stride, option))
                channels = width * block.expansion
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        if self.pre:
            self.layer1[0].first = True
            self.bn = nn.BatchNorm2d(channels)
        self.num_stages = len(widths)
        self.linear = nn.Linear(channels, 10)

    def forward(self, x):
        x = self.conv1(x)
        if not self.pre:
            x = functional.relu(self.bn1(x))
        for stage in range(1, self.num_stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        if self.pre:
            x = functional.relu(self.bn(x))
        return self.linear(x.mean((2, 3)))


LEAVES = {"scale": "weight", "kernel": "weight", "bias": "bias"}
LEAVES |= {"mean": "running_mean", "var": "running_var"}


def torch_name(path):
    """'stage1_block2/norm1/scale' -> 'layer1.1.bn1.weight'."""
    *modules, leaf = path.split("/")
    names = []
    for module in modules:
        if module.startswith("stage"):
            stage, block = module.removeprefix("stage").split("_block")
            names += [f"layer{stage}", str(int(block) - 1)]
        elif names and names[-1] == "shortcut":
            names.append({"conv": "0", "norm": "1"}[module])
        else:
            outside = {"stem_conv": "conv1", "stem_norm": "bn1", "final_norm": "bn"}
            outside["head"] = "linear"
            names.append(outside.get(module, module.replace("norm", "bn")))
    return ".".join([*names, LEAVES[leaf]])


def to_torch_layout(value):
    value = np.asarray(value, np.float64)
    if value.ndim == 4:
        value = value.transpose(3, 2, 0, 1)  # HWIO to OIHW
    return torch.tensor(value.T if value.ndim == 2 else value)


def torch_tensors(*trees):
    """Torch name -> tensor, of the leaves of our trees."""
    return {
        torch_name(path): to_torch_layout(leaf)
        for tree in trees
        for path, leaf in flatten_dict(tree, sep="/").items()
    }
