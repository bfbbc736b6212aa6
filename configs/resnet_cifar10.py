"""ResNet on CIFAR-10, He et al. 2015, arXiv 1512.03385, section 4.2.

    ./launch.sh train --config=configs/resnet_cifar10.py --config.model.depth=56

Depths 6n + 2; 64k steps of 128 images, learning rate 0.1 divided by 10 at 32k and 48k.
For depth 110 the paper warms up: --config.schedule.warmup=400
--config.schedule.warmup_kind=constant --config.schedule.warmup_learning_rate=0.01

Published test error (table 6): 8.75 (20), 7.51 (32), 7.17 (44), 6.97 (56), 6.61 (110).
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "cifar10"
    config.augment.crop_pad = 4
    config.augment.flip = True
    config.augment.standardize = "pixel_mean"
    config.checkpoint.every_epochs = 10.0
    return config
