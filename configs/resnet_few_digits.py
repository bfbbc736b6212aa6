"""Narrow ResNet on 300 of the 8 x 8 digits, tested on 1,297: generalisation, cheaply.

    ./launch.sh train --config=configs/resnet_few_digits.py

All nets fit 300 digits, so the test error tells how they generalise; that of the base
is about 6%, far enough from 0 for differences, and so many test images round to 0.08%.
The 300 steps are as many as those of `resnet_digits`.
"""

from configs import resnet_digits


def get_config():
    config = resnet_digits.get_config()
    config.data.num_train = 300
    config.data.num_test = 1297
    config.train.epochs = 0.0
    config.train.steps = 300
    config.eval.every_epochs = 10.0
    return config
