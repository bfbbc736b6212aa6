"""GoogLeNet on ImageNet or any folder of images, Szegedy et al. 2014, arXiv 1409.4842.

    ./launch.sh train --config=configs/googlenet_imagenet.py --data_dir=...

Section 6: momentum 0.9, the learning rate 4% lower every 8 epochs, an average of the
weights in evaluation; section 5: the loss of each auxiliary head counts 0.3. The paper
prints no rate, decay, batch or length: 0.01, 2e-4, 32 images and 60 epochs are those of
the Caffe reproduction. A crop has 8 to 100% of the area and an aspect of 3/4 to 4/3
(section 6); evaluation takes the middle 224 of a shorter side of 256. Batch norm in
place of local response normalization: --config.norm.kind=batch; modules without
reductions: --config.model.reduced=False

Published: 10.07% top-5 error (one net, one crop).
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "folder"
    config.data.image_size = 224
    config.data.num_validation = 0
    config.geometry.train = "random_resized_crop"
    config.geometry.evaluation = "resize_crop"
    config.augment.flip = True
    config.augment.standardize = "imagenet"
    config.model = base.model_section("googlenet_published")
    config.norm.kind = "local_response"
    config.loss.auxiliary_weight = 0.3
    config.optimizer.weight_decay = 2e-4
    config.schedule.learning_rate = 0.01
    config.schedule.unit = "epochs"
    config.schedule.boundaries = tuple(float(epoch) for epoch in range(8, 60, 8))
    config.schedule.factor = 0.96
    config.train.batch_size = 32
    config.train.steps = 0
    config.train.epochs = 60.0
    config.train.ema_decay = 0.9999
    config.eval.weights = "ema"
    return config
