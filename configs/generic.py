"""Any net of the registry on any data set; no paper has it, and nothing here is tuned.

    ./launch.sh train --model=vgg16_bn_cifar --dataset=cifar10 --data_dir=... --seeds=3

The net, its norm and the size of images are those of the registry. Common practice for
the rest: SGD with momentum and a cosine to 0 after a short warm-up; a tenth of the rate
where the net has no norm that bounds its signals. Photographs are cut as for ImageNet,
small images of things are moved by an eighth and mirrored, digits and letters stay.
`./launch.sh find_lr` with the same flags finds a rate, and any key can be changed.
"""

from cnnjax.models.registry import variant
from configs import base

# Photographs in files, of any size.
PHOTOGRAPHS = ("folder", "imagenet", "webdataset", "tfds:imagenet2012")
# Small images of things that may be mirrored.
THINGS = ("cifar10", "cifar100")
# Side of the images where it is known; as they are stored, they are not resized.
STORED = {"cifar10": 32, "cifar100": 32, "svhn_cropped": 32} | {
    **{"mnist": 28, "fashion_mnist": 28, "digits": 8},
}
# Out of the training images, as these sets have no validation split.
VALIDATION = dict.fromkeys(STORED, 5000) | {"digits": 200, "synthetic": 100}
LARGE = 160  # pixels; from here on memory and time want smaller batches
EPOCHS = 30.0


def get_config(choice: str = "convnet_digits|digits|"):
    """Args: `choice` is 'net|data set|folder of the data', in one word for --config."""
    model, dataset, data_dir = choice.split("|", 2)
    config, entry = base.get_config(), variant(model)
    config.model = base.model_section(model)
    config.norm = base.norm_section(model)
    side = entry.input_shape[0]
    config.data.name = dataset
    config.data.data_dir = data_dir
    config.data.image_size = 0 if STORED.get(dataset) == side else side
    config.data.num_validation = VALIDATION.get(dataset, 0)
    if dataset == "digits":
        config.data.num_test = 300
    if dataset == "synthetic":
        config.data.num_train, config.data.num_test = 1000, 200
    if dataset in PHOTOGRAPHS:
        config.geometry.train = "random_resized_crop"
        config.geometry.evaluation = "resize_crop"
        config.augment.standardize = "imagenet"
    if dataset in THINGS:
        config.augment.translation = 1 / 8  # whatever the size of images becomes
    config.augment.flip = dataset in (*PHOTOGRAPHS, *THINGS)
    bounded = entry.norm["kind"] not in ("none", "local_response")
    config.schedule.learning_rate = 0.1 if bounded else 0.01
    config.schedule.kind = "cosine"
    config.schedule.unit = "fraction"
    config.schedule.warmup = 0.05
    config.optimizer.nesterov = True
    config.optimizer.weight_decay = 5e-4
    config.train.batch_size = 64 if side >= LARGE or dataset == "digits" else 128
    config.train.steps = 0
    config.train.epochs = EPOCHS
    config.eval.batch_size = 100 if side >= LARGE else 500
    return config
