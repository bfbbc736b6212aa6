"""Narrow ResNet on the 8 x 8 digits of scikit-learn: minutes on two cores.

    ./launch.sh train --config=configs/resnet_digits.py --config.model.depth=20

The net of He et al. 2015, section 4.2, at half the width, without augmentation; the
digits need no download. A warm-up over the first tenth of the steps and a cosine to 0
let the residual nets converge at all depths up to 56 in 15 epochs (training error
below 0.5%); the paper, too, needed a warm-up for its deepest net.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "digits"
    config.data.num_validation = 200
    config.data.num_test = 300
    config.model.widths = (8, 16, 32)
    config.schedule.unit = "fraction"
    config.schedule.kind = "cosine"
    config.schedule.warmup = 0.1
    config.train.batch_size = 64
    config.train.steps = 0
    config.train.epochs = 15.0
    config.eval.batch_size = 100
    return config
