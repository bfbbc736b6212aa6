"""Recipe of one block on a few images: what is tested is how processes meet."""

from tests.run.tiny import RESNET, tiny_config


def get_config():
    config = tiny_config(
        "resnet20_cifar",
        RESNET,
        seeds__count=2,
        data__num_train=128,
        data__image_size=8,
        train__batch_size=16,
        train__steps=80,
        # A rate that lets roundings grow to no more than a thousandth.
        schedule__learning_rate=0.003,
        checkpoint__every_epochs=2.0,
        eval__every_epochs=2.0,
    )
    return config.lock()
