"""What `preprocessing.json` and the header of an exported net must hold."""

from typing import Any

from cnnjax.record_kinds import COUNT, ERROR_RATE, REAL, SEED, SHORT, WHOLE_CONFIG
from cnnjax.schema import Anything, Flag, Items, Number, Object, Text


def _fit_images(record: dict[str, Any]) -> str | None:
    """A number for all, one a channel, or [H][W][C]."""
    image = tuple(record[key] for key in ("height", "width", "channels"))
    for key in ("mean", "std"):
        if _shape(record[key]) not in ((), image[2:], image):
            return f"has a {key} that does not fit images of {image}"
    return None


def _shape(value: Any, most: int = 3) -> tuple[int, ...] | None:
    """Of numbers in lists of equal lengths, at most so deep; None otherwise."""
    if not isinstance(value, list):
        return () if REAL.sift(value, "", []) is value else None
    shapes = {_shape(item, most - 1) for item in value} if most else set()
    inner = shapes.pop() if len(shapes) == 1 else None
    return None if inner is None else (len(value), *inner)


FED = Object(
    needs={
        "height": Number(1, 2**16, whole=True),
        "width": Number(1, 2**16, whole=True),
        "channels": Number(1, 4, whole=True),
        "standardize": SHORT,
        "mean": Anything(),
        "std": Anything(),
        "per_image": Flag(),
        "to_grey": Flag(),
    },
    agrees=_fit_images,
)
CLASSES = Items(Text(), least=1)
FED_NET = Object(
    needs={"class_names": CLASSES, "preprocessing": FED},
    may={"config_hash": SHORT, "data_fingerprint": SHORT},
)
# In the header of an exported net.
EXPORT = Object(
    needs={
        "architecture": Object(
            needs={
                "model": Object(needs={"name": SHORT}),
                "norm": Object(),
                "num_classes": Number(1, 10**7, whole=True),
                "dtype": SHORT,
            }
        ),
        "classes": CLASSES,
        "preprocessing": FED,
        "training": Object(
            needs={
                "arm": SHORT,
                "seed": SEED,
                "weights": SHORT,
                "step": COUNT,
                "test_error": ERROR_RATE,
                "note": Text(),
            }
        ),
        "config": WHOLE_CONFIG,
    }
)
