"""Four convolutions on MNIST.

    ./launch.sh train --config=configs/convnet_mnist.py --data_dir=...

The base of ablations of single parts; no paper has it. Filters, pooling, head and
separable convolutions: see `ConvNet` in cnnjax/models/convnet.py.
"""

from configs import convnet_cifar10
from configs.base import model_section


def get_config():
    config = convnet_cifar10.get_config()
    config.data.name = "mnist"
    config.augment.crop_pad = 0
    config.augment.flip = False
    config.augment.standardize = "channel"
    config.model = model_section("convnet_mnist")
    config.train.epochs = 20.0
    return config
