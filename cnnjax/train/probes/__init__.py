"""Measurements on the weights beside errors, by name.

Add a probe: one file with a `Probe`, one line here, and its metrics in
`ablation/metrics.py`. Names go into `config.eval.probes`.
"""

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.train.probes.gradient_norms import GRADIENT_NORMS
from cnnjax.train.probes.layer_responses import LAYER_RESPONSES
from cnnjax.train.probes.lesion import LESION
from cnnjax.train.probes.probe import Probe
from cnnjax.train.probes.shift import SHIFT

PROBES: dict[str, Probe] = {
    "layer_responses": LAYER_RESPONSES,
    "gradient_norms": GRADIENT_NORMS,
    "lesion": LESION,
    "shift": SHIFT,
}


def check_probes(
    names: tuple[str, ...], model: nn.Module, image_shape: tuple[int, ...]
) -> None:
    """Raises a UserError unless the net has what each of the probes measures."""
    for name in names:
        if not PROBES[name].fits(model, image_shape):
            raise UserError(
                f"probe {name!r} needs {PROBES[name].needs}, and this net has none: "
                "take it out of config.eval.probes, or choose another config.model.name"
            )


def check_probe_images(names: tuple[str, ...], sizes: dict[str, int]) -> None:
    """Raises a UserError unless each of the probes has images to look at.

    Args:
      names: of probes.
      sizes: split -> number of images.
    """
    for name in names:
        split = PROBES[name].split
        if not sizes[split]:
            raise UserError(
                f"probe {name!r} looks at {split} images, and this data set gives "
                "none: take it out of config.eval.probes, or set "
                f"config.data.num_{split}"
            )
