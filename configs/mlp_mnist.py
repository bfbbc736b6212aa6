"""Multilayer perceptron on MNIST: what a net without convolutions reaches.

    ./launch.sh train --config=configs/mlp_mnist.py --data_dir=...

Expected: about 1.6 to 2% test error, as such nets are generally reported.
"""

from configs import lenet_mnist
from configs.base import model_section


def get_config():
    config = lenet_mnist.get_config()
    config.model = model_section("mlp")
    config.norm.kind = "batch"
    config.schedule.learning_rate = 0.1
    return config
