"""The naming of the public CIFAR-10 ResNet ports."""

import numpy as np
import pytest

from cnnjax import interop
from tests.peers import arrays, check_evaluation, check_training, randomised

reference = pytest.importorskip("tests.models.torch_resnet")


def port(n=3, block="BasicBlock"):
    net = reference.ResNet(getattr(reference, block), n, (16, 32, 64))
    return randomised(net.double())


def test_logits_and_the_way_back():
    check_evaluation("resnet20_cifar", "cifar", 32, net=port())


def test_training():
    check_training("resnet20_cifar", "cifar", 16, net=port(), num_classes=10)


def test_the_prefix_of_parallel_wrappers():
    state_dict = arrays(port())
    wrapped = {f"module.{name}": value for name, value in state_dict.items()}
    ours = interop.from_torch("resnet20_cifar", wrapped, source="cifar")
    kernel = ours["params"]["stage3_block1"]["conv1"]["kernel"]
    theirs = state_dict["layer3.0.conv1.weight"]
    np.testing.assert_array_equal(kernel, theirs.transpose(2, 3, 1, 0))
