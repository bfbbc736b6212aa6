"""Pre-activation ResNet-110 on CIFAR-10, He et al. 2016, arXiv 1603.05027, appendix.

    ./launch.sh train --config=configs/preact_resnet_cifar10.py --data_dir=...

The recipe of 2015 with a rate of 0.01 in the first 400 steps for all nets, and 128
images on two devices: 64 share the statistics of batch norm. Deeper nets have
bottlenecks: --config.model.depth=164 --config.model.block=bottleneck
--config.model.shortcut=B

Published test error (tables 2 and 4): 6.37 (110), 5.46 (164), 4.92 (1001).
"""

from configs import base, resnet_cifar10


def get_config():
    config = resnet_cifar10.get_config()
    config.model = base.model_section("preact_resnet110_cifar")
    config.norm.examples_per_statistic = 64
    config.schedule.warmup = 400.0
    config.schedule.warmup_kind = "constant"
    config.schedule.warmup_learning_rate = 0.01
    return config
