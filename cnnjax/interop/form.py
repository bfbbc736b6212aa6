"""Whether a net computes what the source's net computes with the same weights.

Some choices change the function and no shape, so that names and shapes would not show
them: each is compared here, or where the family names its layers.
"""

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.layers.act import make_act
from cnnjax.layers.norm import Norm
from cnnjax.models.variant import Variant

# Arguments that change the logits of an evaluation and no shape of a weight; those of
# residual nets are compared in `resnet` and `cifar`.
FREE_OF_WEIGHTS = (
    *("paddings", "strides", "pool", "pool_window", "pool_ceil_mode"),
    *("linear", "early_act", "scales", "plain_last_block", "pool4_window"),
    "auxiliary_pool",
)


def check_form(name: str, entry: Variant, model: nn.Module, source: str) -> None:
    """Refuses a net that was changed in a way that its weights do not show.

    Raises:
      UserError: names the argument.
    """
    own = {"act": make_act(entry.act), **entry.defaults()}
    changed = [
        key
        for key in ("act", *FREE_OF_WEIGHTS)
        if key in own and getattr(model, key) != own[key]
    ]
    epsilon = entry.norm.get("epsilon", 1e-5)
    if model.norm.kind == "batch" and model.norm.epsilon != epsilon:
        changed.append(f"norm.epsilon={model.norm.epsilon}")
    # Group, layer and instance norm have the same weights.
    alike = model.norm.kind not in ("batch", "none", "local_response")
    if source == "timm" and alike and not _is_timms_group_norm(model.norm):
        changed.append(f"norm ({model.norm.kind!r})")
    if changed:
        raise UserError(
            f"{name!r} with another {changed[0]} computes another function than "
            f"{source}'s net with the same weights, which would not show it: leave "
            "that argument out, and apply the weights to the changed net yourself"
        )


def _is_timms_group_norm(norm: Norm) -> bool:
    return norm.kind == "group" and norm.num_groups == 32 and norm.epsilon == 1e-5
