"""What `preprocessing.json` and the header of an exported net must hold."""

from typing import Any

import numpy as np

from cnnjax.data.cutting.geometry import EVALUATION, INTERPOLATIONS
from cnnjax.data.standardize import Statistics, standardisation
from cnnjax.errors import UserError
from cnnjax.net.execution import EXECUTION
from cnnjax.record_kinds import AMOUNT, COUNT, ERROR_RATE, SEED, SHORT, WHOLE_CONFIG
from cnnjax.schema import Anything, Flag, Items, Number, Object, Text

# On the scale where white is 1. A channel that hardly varies is not divided, so that
# those that are vary by more than the least.
STATISTICS = {"mean": Number(0, 1), "std": Number(1e-6, 1)}


def _fit_images(record: dict[str, Any]) -> str | None:
    """Statistics of another shape, or of another kind, than is said."""
    image = tuple(record[key] for key in ("height", "width", "channels"))
    channels, kind = image[2:], record["standardize"]
    try:
        meant = standardisation(kind, *channels)
    except UserError:
        return f"has no standardisation {kind!r}"
    if isinstance(meant, Statistics):
        said = [np.ravel(getattr(meant, key)).tolist() for key in STATISTICS]
        if said != [np.ravel(record[key]).tolist() for key in STATISTICS]:
            return f"subtracts or divides by something else than {kind!r} says"
    whole = image if image[:2] != (1, 1) else channels  # as `Preprocess.record` has it
    shapes = {"channel": (channels, channels), "pixel_mean": (whole, ())}
    if isinstance(meant, Statistics) and np.ndim(meant.mean):
        shapes[kind] = (channels, channels)
    for key, shape in zip(STATISTICS, shapes.get(kind, ((), ())), strict=True):
        if _shape(record[key], STATISTICS[key]) != shape:
            return f"has a {key} that is none of images of {image} for {kind!r}"
    plain = record["mean"] == 0 and record["std"] == 1
    if record["per_image"] != (kind == "image") or not (plain or kind in shapes):
        return f"subtracts or divides by something else than {kind!r} says"
    return None


def _shape(value: Any, kind: Number, most: int = 3) -> tuple[int, ...] | None:
    """Of numbers in lists of equal lengths, at most so deep; None otherwise."""
    if not isinstance(value, list):
        return () if kind.sift(value, "", []) is value else None
    shapes = {_shape(item, kind, most - 1) for item in value} if most else set()
    inner = shapes.pop() if len(shapes) == 1 else None
    return None if inner is None else (len(value), *inner)


def _of_one_net(header: dict[str, Any]) -> str | None:
    """Sections of different nets, of which pages and words would tell the wrong one."""
    architecture, config = header["architecture"], header["config"]
    outputs, names = architecture["num_classes"], len(header["classes"])
    if names != outputs:
        return f"names {names:,} classes of a net with {outputs:,} outputs"
    told = {"model": _computed(config["model"]), "norm": config.get("norm")}
    if told != {key: _computed(architecture[key]) for key in told}:
        return "has the config of another net"
    standardize = config.get("augment", {}).get("standardize")
    if standardize not in (None, header["preprocessing"]["standardize"]):
        return f"has a preprocessing other than the {standardize!r} of its config"
    return None


def _computed(section: dict[str, Any]) -> dict[str, Any]:
    """Without what says how blocks are executed."""
    return {key: value for key, value in section.items() if key not in EXECUTION}


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
    may={
        "sample": Object(
            needs={
                "images": COUNT,
                "of": COUNT,
                "mean_error": Items(AMOUNT),
                "std_error": Items(AMOUNT),
            }
        ),
        "geometry": Object(
            needs={
                "evaluation": Text(of=EVALUATION),
                "fraction": Number(0.1, 1),
                "interpolation": Text(of=tuple(INTERPOLATIONS)),
            }
        ),
    },
    agrees=_fit_images,
)
CLASSES = Items(Text(), least=1)
FED_NET = Object(
    needs={"class_names": CLASSES, "preprocessing": FED},
    may=dict.fromkeys(("config_hash", "data_fingerprint", "digest"), SHORT),
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
    },
    agrees=_of_one_net,
)
