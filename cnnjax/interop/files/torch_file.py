"""Reading files of torch without running code from them.

With `weights_only=True` torch rebuilds only tensors and plain containers and refuses
any other object. Checkpoints also hold settings and scores: objects of known harmless
classes are replaced by empty ones, so that none of their code runs.
"""

import pathlib
import pickle
import re
import warnings
from collections.abc import Callable
from typing import Any

from cnnjax.errors import UserError
from cnnjax.interop.files.formats import AGAIN, PICKLE

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
# Stored in checkpoints next to the weights: settings, scores, dates, paths.
HARMLESS = (
    *("argparse.Namespace", "types.SimpleNamespace"),
    *(f"datetime.{kind}" for kind in ("date", "datetime", "time", "timedelta")),
    *("datetime.timezone", "decimal.Decimal", "fractions.Fraction", "uuid.UUID"),
    *(
        f"{module}.{flavour}Path"
        for module in ("pathlib", "pathlib._local")
        for flavour in ("", "Posix", "Windows", "PurePosix", "PureWindows")
    ),
    *(f"{module}.scalar" for module in _NUMPY),
    *("numpy.dtype", "numpy.ndarray", "numpy.bool_", "numpy.float64", "numpy.int64"),
    *("builtins.slice", "builtins.range", "builtins.frozenset"),
    "torch.torch_version.TorchVersion",
    *("builtins.dict", "builtins.list", "builtins.tuple", "typing.Any"),
    *("builtins.int", "builtins.float", "builtins.str", "builtins.bool"),
    *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata")),
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *(
        f"omegaconf.nodes.{kind}Node"
        for kind in ("Any", "String", "Integer", "Float", "Boolean", "Enum")
    ),
)


class Inert:
    """Replaces an object that nobody reads: accepts anything and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class ArrayObject(Inert):
    """Replaces an array of NumPy, whose own unpickling runs more than torch's."""


def plain_dictionary(default: Any = None) -> dict:
    """Replaces a `defaultdict` and drops its factory; torch fills it."""
    return {}


def read_torch(path: pathlib.Path) -> Any:
    """Reads what `torch.save` wrote, with tensors on the host.

    Raises:
      UserError: torch is not installed; the file is damaged, or contains objects that
        are neither tensors nor known to be harmless.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"reading {path} needs torch, which is not installed: install the extra "
            "'peers', or convert the file to .safetensors"
        ) from error
    inert: list[Callable[..., Any] | tuple[Callable[..., Any], str]]
    inert = [(Inert, name) for name in HARMLESS]
    inert += [(ArrayObject, f"{module}._reconstruct") for module in _NUMPY]
    inert += [(plain_dictionary, "collections.defaultdict")]
    try:
        # torch also looks at the ending of a path; an open file has none.
        with (
            path.open("rb") as file,
            warnings.catch_warnings(),
            torch.serialization.safe_globals(inert),
        ):
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    # Damaged bytes can make the unpickler fail in any way.
    except Exception as error:
        raise UserError(f"weight file {path} {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = str(error)
    code = re.search(r"GLOBAL ([\w.]+)", text)
    if isinstance(error, pickle.UnpicklingError) and (code or "Can only" in text):
        return (
            "contains more than tensors "
            f"({code[1] if code else first_sentence(error)}), "
            "which could run code: save `model.state_dict()` alone, or, only if you "
            "trust the file, convert it where it was written by "
            "`torch.save(torch.load(path, weights_only=False)['state_dict'], new)`, "
            "with `.state_dict()` in place of the brackets for a whole net"
        )
    if "Invalid magic number" in text:
        return "is {}: {}".format(*PICKLE)
    reason = type(error).__name__
    if isinstance(error, RuntimeError | EOFError | OSError):
        reason = first_sentence(error)
    return f"is not a complete torch file ({reason}): {AGAIN}"


def first_sentence(error: Exception) -> str:
    """The first sentence of another library's error message."""
    text = str(error).strip() or type(error).__name__
    return re.split(r"\.\s|\n", text)[0].rstrip(".")
