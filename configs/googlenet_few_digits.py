"""Small GoogLeNet on 300 of the 8 x 8 digits, tested on 1,297: seconds on two cores.

    ./launch.sh train --config=configs/googlenet_few_digits.py

Four modules with a quarter of the channels; data, schedule and budget are those of
`resnet_few_digits`. The digits need no download.
"""

from configs import resnet_few_digits
from configs.base import model_section, norm_section


def get_config():
    config = resnet_few_digits.get_config()
    config.model = model_section(
        "googlenet_cifar", num_blocks=(1, 2, 1), width=0.25, dropout_rate=0.0
    )
    config.norm = norm_section("googlenet_cifar")
    return config
