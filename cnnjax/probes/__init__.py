"""Measurements of a net while it trains, by name.

Add a probe: one file with a `Probe`, one line here, and its metrics in
`ablation/define/metrics.py`. Names go into `config.eval.probes`.
"""

from collections.abc import Mapping

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.probes.curvature import CURVATURE
from cnnjax.probes.ensemble import ENSEMBLE
from cnnjax.probes.gradient_norms import GRADIENT_NORMS
from cnnjax.probes.layer_responses import LAYER_RESPONSES
from cnnjax.probes.lesion import LESION
from cnnjax.probes.likeness import LIKENESS
from cnnjax.probes.probe import Probe
from cnnjax.probes.shift import SHIFT
from cnnjax.probes.statistics import STATISTICS

PROBES: dict[str, Probe] = {
    "layer_responses": LAYER_RESPONSES,
    "gradient_norms": GRADIENT_NORMS,
    "lesion": LESION,
    "curvature": CURVATURE,
    "likeness": LIKENESS,
    "shift": SHIFT,
    "statistics": STATISTICS,
    "ensemble": ENSEMBLE,
}


def check_probes(
    names: tuple[str, ...],
    model: nn.Module,
    image_shape: tuple[int, ...],
    sizes: Mapping[str, int],
) -> None:
    """Raises a UserError unless net and data have what each of the probes measures.

    Args:
      names: of the probes.
      model: the net.
      image_shape: (height, width, channels).
      sizes: split -> number of images.
    """
    for name in names:
        if not sizes[PROBES[name].split]:
            raise UserError(
                f"probe {name!r} looks at {PROBES[name].split} images, and this data "
                "set has none: take it out of config.eval.probes, or change config.data"
            )
        if not PROBES[name].fits(model, image_shape):
            raise UserError(
                f"probe {name!r} needs {PROBES[name].needs}, and this net has none: "
                "take it out of config.eval.probes, or choose another config.model.name"
            )
