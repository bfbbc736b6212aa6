"""ResNets on 5,000 images of CIFAR-10 at 32 x 32: for ablations of hours on two cores.

    ./launch.sh train --config=configs/resnet_few_cifar10.py --data_dir=...

Scale `workstation` of several ablations. 18 trainings of up to 56 layers are to end
within hours on two cores, which leaves each 75,000 passes of an image: 15 epochs of
5,000, 32 at a time, since small batches buy four times the steps of 128 (2,344 in all).
Without augmentation, so that the strongest nets nearly fit their images within them: a
residual net of 20 layers does. Early training all the same: the paper has 64,000 steps.
Test images are all 10,000.
"""

from configs import resnet_cifar10


def get_config():
    config = resnet_cifar10.get_config()
    config.data.num_train = 5000
    config.data.num_validation = 1000
    config.augment.crop_pad = 0
    config.augment.flip = False
    config.schedule.kind = "cosine"
    config.schedule.unit = "fraction"
    config.schedule.warmup = 0.1
    config.train.batch_size = 32
    config.train.steps = 0
    config.train.epochs = 15.0
    config.eval.every_epochs = 5.0
    config.eval.keep_best = False
    return config
