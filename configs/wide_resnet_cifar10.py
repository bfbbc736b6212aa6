"""Wide residual nets on CIFAR-10, Zagoruyko & Komodakis 2016, arXiv 1605.07146.

    ./launch.sh train --config=configs/wide_resnet_cifar10.py --data_dir=...

Section 3: 200 epochs of batches of 128, SGD with Nesterov momentum, weight decay 5e-4,
learning rate 0.1 times 0.2 at epochs 60, 120 and 160; flips and crops of images padded
by 4. The paper pads with reflections where we pad with the mean, and trains on all
50,000 images: --config.data.num_validation=0

Published test error (table 4, of images whitened by ZCA): 4.97 (40 layers, widening
factor 4), 4.81 (16, 8), 4.38 (22, 8), 4.56 (16, 10), 4.66 (40, 8), 4.17 (28, 10). With
mean and deviation, as here, it is 4.00 (28, 10; table 5, median of 5 runs).
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "cifar10"
    config.augment.crop_pad = 4
    config.augment.flip = True
    config.model = base.model_section("wide_resnet28_10")
    config.optimizer.nesterov = True
    config.optimizer.weight_decay = 5e-4
    config.schedule.unit = "epochs"
    config.schedule.boundaries = (60.0, 120.0, 160.0)
    config.schedule.factor = 0.2
    config.train.steps = 0
    config.train.epochs = 200.0
    config.checkpoint.every_epochs = 10.0
    return config
