"""ResNet-50 on ImageNet or any folder of images, He et al. 2015, arXiv 1512.03385.

    ./launch.sh train --config=configs/resnet_imagenet.py --data_dir=...

Section 3.4: 256 images a step, rate 0.1, momentum 0.9, weight decay 1e-4. The paper
divides the rate by 10 on plateaus; the 90 epochs with steps at 30 and 60 are later
practice. The shorter side is drawn from [256, 480] and a crop of 224 taken of it, and
colours change along their principal axes, as there. The authors also subtract the mean
of each pixel; here the published mean and deviation of each channel save a pass over
all images. The net is that of the paper, strided in its first 1x1; the published
numbers are of 10 crops, where evaluation here takes the middle 224 of a shorter side of
256.

Published: 22.85% top-1, 6.71% top-5 error (10 crops, here
--config.geometry.evaluation=ten_crop).
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "folder"
    config.data.image_size = 224
    config.data.num_validation = 0
    config.geometry.train = "scale_crop"
    config.geometry.evaluation = "resize_crop"
    config.augment.flip = True
    config.augment.pca_colour = 0.1
    config.augment.standardize = "imagenet"
    config.model = base.model_section("resnet50_published")
    config.schedule.unit = "epochs"
    config.schedule.boundaries = (30.0, 60.0)
    config.train.batch_size = 256
    config.train.steps = 0
    config.train.epochs = 90.0
    return config
