"""LeNet-5 in its modern form on MNIST.

    ./launch.sh train --config=configs/lenet_mnist.py --data_dir=...

Published: 0.95% test error (LeCun et al. 1998, without distortions, other optimizer).
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "mnist"
    config.model = base.model_section("lenet5")
    config.norm.kind = "none"
    config.schedule.kind = "cosine"
    config.schedule.learning_rate = 0.02
    config.train.steps = 0
    config.train.epochs = 10.0
    return config
