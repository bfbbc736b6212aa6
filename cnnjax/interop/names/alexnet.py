"""Names of AlexNet in torchvision, which numbers all layers in order."""

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.interop.names.paths import matched
from cnnjax.models.alexnet import POOL_AFTER, AlexNet


def alexnet_name(model: nn.Module, path: str) -> str:
    """'conv2' -> 'features.3'; norms, which torchvision lacks, are numbered as well.

    Raises:
      UserError: the net has local response norm, whose layers would be numbered too.
    """
    if model.norm.kind == "local_response":
        raise UserError(
            "torchvision's AlexNet has no local response normalization: choose the "
            "entry 'alexnet', or another norm"
        )
    if path == "head":
        return f"classifier.{3 * len(model.dense_widths)}"
    kind, digits = matched(r"(conv|norm|fc)(\d+)", path)
    number = int(digits)
    if kind == "fc":  # groups of three layers: dropout, dense, activation
        return f"classifier.{3 * (number - 6) + (model.dropout_on == 'inputs')}"
    place = sum(
        2 + model.norm.has_bias + (layer in POOL_AFTER) for layer in range(1, number)
    )
    return f"features.{place + (kind == 'norm')}"


NAMES = {(AlexNet, "torchvision"): alexnet_name}
