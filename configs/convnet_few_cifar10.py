"""Four convolutions on 5,000 images of CIFAR-10 shrunk to 16 x 16: seconds a net.

    ./launch.sh train --config=configs/convnet_few_cifar10.py --data_dir=...

For ablations at laptop scale of what 8 x 8 digits are too small or too easy for. Test
images are all 10,000.
"""

from configs import convnet_cifar10


def get_config():
    config = convnet_cifar10.get_config()
    config.data.image_size = 16
    config.data.num_train = 5000
    config.data.num_validation = 1000
    config.augment.crop_pad = 2
    config.model.widths = (16, 32)
    config.train.epochs = 15.0
    config.eval.every_epochs = 3.0
    return config
