"""Six convolutions in the pattern of VGG on CIFAR-10.

    ./launch.sh train --config=configs/convnet_cifar10.py --data_dir=...

The base of ablations of single parts; no paper has it. Data, augmentation, batch and
decay are those of He et al. 2015, section 4.2. Filters, pooling, head and separable
convolutions: see `ConvNet` in cnnjax/models/convnet.py.
"""

from configs import resnet_cifar10
from configs.base import model_section


def get_config():
    config = resnet_cifar10.get_config()
    config.model = model_section("convnet_cifar")
    config.schedule.kind = "cosine"
    config.schedule.unit = "fraction"
    config.schedule.warmup = 0.05
    config.train.steps = 0
    config.train.epochs = 100.0
    return config
