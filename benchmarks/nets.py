"""The nets that the suites train and evaluate, in cnnjax and in torch."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from configs import base


@dataclasses.dataclass(frozen=True)
class Net:
    """A net on synthetic images.

    Args:
      model: name in the registry.
      arguments: of the net.
      image_size: pixels.
      batch_size: images per step.
      num_classes: width of the head.
    """

    model: str
    arguments: dict[str, Any]
    image_size: int
    batch_size: int
    num_classes: int

    def config(self, num_batches: int) -> ConfigDict:
        """Plain SGD with momentum and weight decay, no augmentation, one seed."""
        config = base.get_config()
        config.data.name = "synthetic"
        config.data.image_size = self.image_size
        config.data.num_classes = self.num_classes
        config.data.num_train = num_batches * self.batch_size
        config.data.num_validation = 0
        config.data.num_test = self.batch_size
        config.model = base.model_section(self.model, **self.arguments)
        config.norm = base.norm_section(self.model)
        config.train.batch_size = self.batch_size
        config.train.steps = 1000
        config.train.steps_per_dispatch = num_batches
        config.schedule.kind = "constant"
        config.schedule.learning_rate = 0.01
        config.eval.batch_size = self.batch_size
        config.log.every_epochs = 1000.0
        return config


NETS = {
    "CIFAR ResNet-20, batch 128": Net("resnet20_cifar", {}, 32, 128, 10),
    "CIFAR ResNet-56, batch 128": Net("resnet56_cifar", {}, 32, 128, 10),
    "VGG-16-BN, 32 px, batch 128": Net("vgg16_bn_cifar", {}, 32, 128, 10),
    "ResNet-18, 224 px, batch 16": Net("resnet18", {}, 224, 16, 1000),
    "MobileNetV1, 96 px, batch 16": Net("mobilenet_v1", {}, 96, 16, 1000),
    "DenseNet-BC-40, batch 64": Net(
        "densenetbc100_12_cifar", {"depth": 40}, 32, 64, 10
    ),
}


# One net of every family that torchvision or timm has, too, without auxiliary heads.
NO_HEADS = {"auxiliary_heads": False}
FAMILIES = {
    "AlexNet, 224 px, batch 32": Net("alexnet", {}, 224, 32, 1000),
    "VGG-16, 224 px, batch 4": Net("vgg16", {}, 224, 4, 1000),
    "GoogLeNet, 224 px, batch 16": Net("googlenet", NO_HEADS, 224, 16, 1000),
    "Inception-v3, 224 px, batch 8": Net("inception_v3", NO_HEADS, 224, 8, 1000),
    "Inception-v4, 224 px, batch 4": Net("inception_v4", {}, 224, 4, 1000),
    "ResNet-50, 224 px, batch 8": Net("resnet50", {}, 224, 8, 1000),
    "ResNeXt-50, 224 px, batch 8": Net("resnext50_32x4d", {}, 224, 8, 1000),
    "SE-ResNet-50, 224 px, batch 8": Net("se_resnet50", {}, 224, 8, 1000),
    "Wide ResNet-50-2, 224 px, batch 4": Net("wide_resnet50_2", {}, 224, 4, 1000),
    "DenseNet-121, 224 px, batch 8": Net("densenet121", {}, 224, 8, 1000),
    "MobileNetV2, 224 px, batch 8": Net("mobilenet_v2", {}, 224, 8, 1000),
    "MobileNetV3, 224 px, batch 8": Net("mobilenet_v3_large", {}, 224, 8, 1000),
}


def named(part: str, nets: Mapping[str, Net] = NETS) -> dict[str, Net]:
    """The nets whose name contains this text, ignoring case."""
    return {name: net for name, net in nets.items() if part.lower() in name.lower()}
