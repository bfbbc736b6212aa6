"""ResNet-50 on ImageNet or any folder of images, He et al. 2015, arXiv 1512.03385.

    ./launch.sh train --config=configs/resnet_imagenet.py --data_dir=...

Section 3.4: 256 images a step, rate 0.1, momentum 0.9, weight decay 1e-4. The paper
divides the rate by 10 on plateaus; the 90 epochs with steps at 30 and 60 are later
practice. Colours change along their principal axes, as in Krizhevsky et al. 2012. Crops
move by an eighth of the image, where the authors also change size. The net is that of
the paper, strided in its first 1x1; the published numbers are of 10 crops, which
evaluation here does not take.

Published: 22.85% top-1, 6.71% top-5 error (10 crops).
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "folder"
    config.data.image_size = 224
    config.data.num_validation = 0
    config.augment.crop_pad = 28
    config.augment.flip = True
    config.augment.pca_colour = 0.1
    config.model = base.model_section("resnet50_published")
    config.schedule.unit = "epochs"
    config.schedule.boundaries = (30.0, 60.0)
    config.train.batch_size = 256
    config.train.steps = 0
    config.train.epochs = 90.0
    return config
