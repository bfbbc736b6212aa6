"""Plain nets on CIFAR-10: the ResNet recipe without the additions (He et al. 2015).

    ./launch.sh train --config=configs/plain_cifar10.py --config.model.depth=56

Published (figure 6, left, read off the curves): test error about 9 (20), 13 (56).
"""

from configs import resnet_cifar10


def get_config():
    config = resnet_cifar10.get_config()
    config.model.residual = False
    return config
