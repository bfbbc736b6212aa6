"""AlexNet on ImageNet or any folder of images, Krizhevsky et al. 2012, NeurIPS.

    ./launch.sh train --config=configs/alexnet_imagenet.py --data_dir=...

Section 5: 128 images a step, momentum 0.9, weight decay 5e-4, kernels from a normal
distribution of standard deviation 0.01, rate 0.01, divided by 10 when validation
stalled, three times in about 90 epochs; the epochs 30, 60 and 80 are ours. Biases start
at 0, where the authors start some at 1. Section 4.1: random crops of a shorter side of
256, mirror images, and colours along their principal axes by 0.1; crops have 227 pixels
here, as the arithmetic of the first layer wants it (the paper says 224), and may lie
off the centred square. Of each channel the published mean is subtracted and the
deviation divided out, where the authors subtract the mean of each pixel.

Published: 40.7% top-1, 18.2% top-5 error (one net, 10 crops: here
--config.geometry.evaluation=ten_crop, where the authors cut them out of the middle
square).
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "folder"
    config.data.image_size = 227
    config.data.num_validation = 0
    config.geometry.train = "resize_crop"
    config.geometry.evaluation = "resize_crop"
    # Evaluation takes the middle of the same shorter side.
    config.geometry.fraction = 227 / 256
    config.augment.flip = True
    config.augment.pca_colour = 0.1
    config.augment.standardize = "imagenet"
    config.model = base.model_section("alexnet_published")
    config.norm = base.norm_section("alexnet_published")
    config.init.kernel = "normal"
    config.init.scale = 0.01
    config.optimizer.weight_decay = 5e-4
    config.schedule.learning_rate = 0.01
    config.schedule.unit = "epochs"
    config.schedule.boundaries = (30.0, 60.0, 80.0)
    config.train.batch_size = 128
    config.train.steps = 0
    config.train.epochs = 90.0
    return config
