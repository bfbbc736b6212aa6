"""Names of AlexNet in torchvision: everything numbered in order."""

import re

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.models.alexnet import POOL_AFTER, AlexNet


def alexnet_name(model: nn.Module, path: str) -> str:
    """'conv2' -> 'features.3'; norms, which torchvision has not, are numbered, too.

    Raises:
      UserError: the net has local response norm, which would take numbers, too.
    """
    if model.norm.kind == "local_response":
        raise UserError(
            "torchvision's AlexNet has no local response normalization: choose the "
            "entry 'alexnet', or another norm"
        )
    if path == "head":
        return f"classifier.{3 * len(model.dense_widths)}"
    kind, number = re.fullmatch(r"(conv|norm|fc)(\d+)", path).groups()
    number = int(number)
    if kind == "fc":  # one of three: dropout, dense, activation
        return f"classifier.{3 * (number - 6) + (model.dropout_on == 'inputs')}"
    place = sum(
        2 + model.norm.has_bias + (layer in POOL_AFTER) for layer in range(1, number)
    )
    return f"features.{place + (kind == 'norm')}"


NAMES = {(AlexNet, "torchvision"): alexnet_name}
