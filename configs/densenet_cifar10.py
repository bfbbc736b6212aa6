"""DenseNet on CIFAR-10, Huang et al. 2016, arXiv 1608.06993, section 4.2.

    ./launch.sh train --config=configs/densenet_cifar10.py --config.model.depth=100

300 epochs of batches of 64, SGD with Nesterov momentum, learning rate 0.1 divided by 10
at half and at three quarters. Without augmentation the paper drops a fifth:
--config.augment.crop_pad=0 --config.augment.flip=False --config.model.dropout_rate=0.2

Published test error (table 2, C10+): 4.51 (BC, depth 100, growth rate 12). The others
are other values of config.model: 5.24 (depth 40, growth rate 12, bottleneck False,
compression 1.0, stem_width 16), 3.62 (BC, 250, 24), 3.46 (BC, 190, 40). The paper's
final runs train on all 50,000 images: --config.data.num_validation=0
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "cifar10"
    config.augment.crop_pad = 4
    config.augment.flip = True
    config.model = base.model_section("densenetbc100_12_cifar")
    config.optimizer.nesterov = True
    config.schedule.unit = "fraction"
    config.schedule.boundaries = (0.5, 0.75)
    config.train.batch_size = 64
    config.train.steps = 0
    config.train.epochs = 300.0
    config.checkpoint.every_epochs = 10.0
    return config
