"""MobileNet on ImageNet or any folder of images, Howard et al. 2017, arXiv 1704.04861.

    ./launch.sh train --config=configs/mobilenet_v1_imagenet.py --data_dir=...

Section 3.2: RMSprop, mild augmentation, and no weight decay on the depthwise filters,
which have few weights. The paper prints no rates: 0.045, the decay of 0.9 and the
epsilon of 1.0 are those of Inception-v3 (Szegedy et al. 2015, section 8), which it
follows; 100 epochs with a cosine are ours. The paper limits how small a crop may be and
prints no number: here it has 35 to 100% of the area, which is ours. Narrower nets:
--config.model.width=0.5; the twin with full convolutions:
--config.model.separable=False

Published accuracy (one crop): 70.6 (1.0), 68.4 (0.75), 63.7 (0.5), 50.6 (0.25), and
71.7 with full convolutions.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "folder"
    config.data.image_size = 224
    config.data.num_validation = 0
    config.geometry.train = "random_resized_crop"
    config.geometry.area = (0.35, 1.0)
    config.geometry.evaluation = "resize_crop"
    config.augment.flip = True
    config.augment.standardize = "inception"
    config.model = base.model_section("mobilenet_v1")
    config.optimizer.name = "rmsprop"
    config.optimizer.b2 = 0.9
    config.optimizer.epsilon = 1.0
    config.optimizer.weight_decay = 4e-5
    config.optimizer.decay_exclude = ("depthwise/conv/",)
    config.schedule.kind = "cosine"
    config.schedule.learning_rate = 0.045
    config.train.batch_size = 256
    config.train.steps = 0
    config.train.epochs = 100.0
    return config
