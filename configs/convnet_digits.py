"""Four convolutions on the 8 x 8 digits of scikit-learn: seconds on two cores.

    ./launch.sh train --config=configs/convnet_digits.py --config.model.pool=avg

The base of ablations of single parts; no paper has it. The digits need no download.
"""

from configs import resnet_digits
from configs.base import model_section


def get_config():
    config = resnet_digits.get_config()
    config.model = model_section("convnet_digits")
    return config
