"""Names in files of torch that stand for tensors, containers and harmless objects."""

import re

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
# Tensors and what describes them.
_OF_TORCH = re.compile(
    r"torch\.(_utils\._rebuild_\w+|((cuda|sparse|cuda\.sparse)\.)?\w+(Storage|Tensor)"
    r"|Tensor|u?int\d+|b?float\w+|complex\d+|bool|q\w?int\w+|bits\w+"
    r"|per_\w+_affine\w*|per_\w+_symmetric|Size|device|torch_version\.TorchVersion"
    r"|storage\.(Unt|T)ypedStorage|nn\.parameter\.Parameter"
    r"|serialization\._get_layout|_tensor\._rebuild_from_type_v2)"
)
# Stored in checkpoints next to the weights: settings, scores, dates, paths.
_HARMLESS = frozenset(
    (
        *("argparse.Namespace", "types.SimpleNamespace"),
        *(f"datetime.{kind}" for kind in ("date", "datetime", "time", "timedelta")),
        *("datetime.timezone", "decimal.Decimal", "fractions.Fraction", "uuid.UUID"),
        *(
            f"{module}.{flavour}Path"
            for module in ("pathlib", "pathlib._local")
            for flavour in ("", "Posix", "Windows", "PurePosix", "PureWindows")
        ),
        *(f"{module}.scalar" for module in _NUMPY),
        *(f"{module}._reconstruct" for module in _NUMPY),
        *(
            f"numpy.{kind}"
            for kind in ("dtype", "ndarray", "bool_", "float64", "int64")
        ),
        *("builtins.slice", "builtins.range", "builtins.frozenset", "builtins.set"),
        *("builtins.dict", "builtins.list", "builtins.tuple"),
        *("builtins.int", "builtins.float", "builtins.str", "builtins.bool"),
        *("builtins.bytearray", "builtins.complex", "_codecs.encode"),
        *(f"collections.{kind}" for kind in ("OrderedDict", "defaultdict", "Counter")),
        *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata")),
        *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
        *(
            f"omegaconf.nodes.{kind}Node"
            for kind in ("Any", "String", "Integer", "Float", "Boolean", "Enum")
        ),
    )
)


def is_known(name: str) -> bool:
    """Whether a file may name this class or function; nothing of it is ever called."""
    return name in _HARMLESS or _OF_TORCH.fullmatch(name) is not None
