"""Narrow ResNet on the 8 x 8 digits of scikit-learn: minutes on two cores.

    ./launch.sh train --config=configs/resnet_digits.py --config.model.depth=20

The net of He et al. 2015, section 4.2, at half the width, without augmentation; the
digits need no download. Expected: training error 0 within 20 epochs.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "digits"
    config.data.num_validation = 200
    config.data.num_test = 300
    config.model.widths = (8, 16, 32)
    config.schedule.unit = "fraction"
    config.schedule.boundaries = (0.5, 0.75)
    config.train.batch_size = 64
    config.train.epochs = 20.0
    config.eval.batch_size = 100
    return config
