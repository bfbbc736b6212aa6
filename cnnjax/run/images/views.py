"""What nets see of each image in the last evaluation, by sections eval and geometry."""

import math
from typing import Any

import psutil
from flax import linen as nn

from cnnjax.data.cutting.geometry import Geometry
from cnnjax.errors import UserError
from cnnjax.run.settings import EvalSettings
from cnnjax.training.multi_view import Views

# Two batches that are read ahead, one that is sent and one that is computed.
BATCHES_IN_MEMORY = 4


def last_views(settings: EvalSettings, geometry: Geometry, size: int) -> Views:
    """Views of an image.

    Args:
      settings: section `eval`.
      geometry: section `geometry`; with several views, reading cuts them.
      size: side of a view in pixels.

    Raises:
      UserError: both sections ask for several, or the statistics are of the batch.
    """
    if geometry.num_views == 1:
        return settings.views
    wrong = ""
    if settings.statistics == "batch":
        wrong = "config.eval.statistics is 'batch', which they would share"
    if not settings.views.is_plain:
        wrong = f"config.eval asks for views of each of them ({settings.views.words})"
    if wrong:
        raise UserError(
            f"config.geometry.evaluation={geometry.evaluation!r} sees several crops of "
            f"an image, and {wrong}: set one of the two to its default"
        )
    read = geometry.words_of_views(size)
    return Views(flip=geometry.mirrors_views, read=read)


def check_views(
    settings: EvalSettings,
    geometry: Geometry,
    model: nn.Module,
    declared: Any,
    image_shape: tuple[int, int, int],
) -> None:
    """Compiles nothing.

    Args:
      settings: section `eval`.
      geometry: section `geometry`.
      model: the net.
      declared: its variables.
      image_shape: (H, W, C) of the images that it was built for.

    Raises:
      UserError: as `last_views`; views that the net does not take, or for which memory
        has no room.
    """
    last_views(settings, geometry, image_shape[0]).check(model, declared, image_shape)
    num = geometry.num_views * settings.batch_size * (geometry.num_views > 1)
    wanted = BATCHES_IN_MEMORY * num * math.prod(image_shape)
    free = psutil.virtual_memory().available
    if wanted > free:
        raise UserError(
            f"config.geometry.evaluation={geometry.evaluation!r} reads "
            f"{geometry.num_views} crops of each image, which take {wanted / 1e9:,.1f} "
            f"GB of memory, of which {free / 1e9:,.1f} GB are free: lower "
            f"config.eval.batch_size, which is {settings.batch_size}"
        )
