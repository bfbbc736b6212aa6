"""Inception-v3 on ImageNet or any folder of images, Szegedy et al. 2015, 1512.00567.

    ./launch.sh train --config=configs/inception_v3_imagenet.py --data_dir=...

Section 8: RMSProp with decay 0.9 and epsilon 1.0, gradients clipped at norm 2, rate
0.045 times 0.94 every two epochs, 100 epochs, an average of the weights in evaluation;
section 7: label smoothing 0.1. The authors had 50 workers that moved the weights in
turn, 32 images each; here 32 images are a step, on one worker. Not printed: the
momentum of RMSProp (0.9), the weight decay (4e-5), dropout (0.2) and the weight of the
auxiliary loss (0.4), which are those of the authors' code. Crops are those of GoogLeNet
(8 to 100% of the area, aspect 3/4 to 4/3), and evaluation takes the middle 87.5% of the
shorter side; the authors' code also changes colours.

Published: 21.2% top-1, 5.6% top-5 error (one net, one crop).
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "folder"
    config.data.image_size = 299
    config.data.num_validation = 0
    config.geometry.train = "random_resized_crop"
    config.geometry.evaluation = "resize_crop"
    config.augment.flip = True
    config.augment.standardize = "inception"
    config.model = base.model_section("inception_v3", dropout_rate=0.2)
    config.norm.epsilon = 1e-3
    config.loss.label_smoothing = 0.1
    config.loss.auxiliary_weight = 0.4
    config.optimizer.name = "rmsprop"
    config.optimizer.b2 = 0.9
    config.optimizer.epsilon = 1.0
    config.optimizer.weight_decay = 4e-5
    config.optimizer.clip_norm = 2.0
    config.schedule.learning_rate = 0.045
    config.schedule.unit = "epochs"
    config.schedule.boundaries = tuple(float(epoch) for epoch in range(2, 100, 2))
    config.schedule.factor = 0.94
    config.train.batch_size = 32
    config.train.steps = 0
    config.train.epochs = 100.0
    config.train.ema_decay = 0.9999
    config.eval.weights = "ema"
    return config
