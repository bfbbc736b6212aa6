"""Exports trained weights for other programs, and loads our own exports."""

import dataclasses
import errno
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
import safetensors
import safetensors.numpy
from flax import linen as nn
from flax import traverse_util
from flax.core import meta

from cnnjax import interop
from cnnjax.config import from_dict, to_dict
from cnnjax.data.preprocess import Preprocess
from cnnjax.errors import UserError, printable, unknown_name
from cnnjax.files import write_failure
from cnnjax.interop.convert import LEAVES, slots_of, state_dict_of
from cnnjax.interop.files.read import checked_path, opened
from cnnjax.interop.files.write_torch import TORCH_ENDINGS, torch_file
from cnnjax.interop.wrappers import listed
from cnnjax.layers.norm import Norm
from cnnjax.net.initialize import abstract_variables
from cnnjax.records import write_bytes, write_json
from cnnjax.run.provenance import package_version
from cnnjax.run.trained.kinds import EXPORT
from cnnjax.run.trained.net import TrainedNet, architecture_of, build_network

_LOG = logging.getLogger(__name__)
OURS, SAFETENSORS = "cnnjax", ".safetensors"
# What is known of the weights themselves.
ORIGIN = ("arm", "seed", "weights", "step", "test_error", "note")


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
      path: file, or folder of Orbax.
      sidecar: JSON file with the metadata, where the format has no place for them.
      names: whose names the leaves have: 'cnnjax', or a source of `interop`.
    """

    path: Path
    sidecar: Path | None
    names: str


def export(net: TrainedNet, path: str | os.PathLike, format: str) -> Exported:
    """Writes a net for others, with its preprocessing, classes and origin.

    Args:
      net: of `load_run`.
      path: a new file; for 'orbax' a new folder. What has no place in it goes into a
        JSON file beside it, of the same name with '.json' behind.
      format: 'safetensors' (our names and layouts; `load_export` reads it), 'orbax'
        (the same tree, as a folder), 'torch' (a state dict: names of the first source
        that has this net, else ours), or 'torchvision', 'timm' or 'cifar' (one that
        this library's own net loads with `strict=True`). State dicts are written by
        torch, or as .safetensors where the name ends so.

    Raises:
      UserError: the path exists, or cannot be written, or has an ending that is not of
        this format; the library has no such net.
    """
    path = check_target(path, format)
    return FORMATS[format](net.plain(), path, _sidecar(path))


def check_target(path: str | os.PathLike, format: str) -> Path:
    """The path of a new file or folder of a format; checked as by `export`.

    Raises:
      UserError: as `export`, before anything is loaded.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS, "--format")
    path = Path(path).expanduser()
    endings = {"safetensors": (SAFETENSORS,), "orbax": ()}.get(
        format, (*TORCH_ENDINGS, SAFETENSORS)
    )
    if endings and path.suffix.lower() not in endings:
        raise UserError(
            f"a file of the format {format!r} ends in {' or '.join(endings)}, "
            f"{path.name!r} does not: change --out"
        )
    for there in (path, _sidecar(path)):
        if there.exists() or there.is_symlink():
            raise UserError(f"{there} exists already: remove it or give another --out")
    return path


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def load_export(path: str | os.PathLike) -> TrainedNet:
    """The net in a file that `export` wrote as 'safetensors'; nothing else is needed.

    >>> import cnnjax
    >>> from cnnjax.run.trained.export import export
    >>> written = export(cnnjax.load_run("runs/mlp", "last"), "mlp.safetensors",
    ...     "safetensors")
    >>> cnnjax.load_export(written.path).class_names[:3]
    ('0', '1', '2')

    Raises:
      UserError: no such file, or no such export, or one of a net that this version
        builds otherwise.
    """
    path = checked_path(path)
    # Names, shapes and types are compared before a value is read.
    with opened(path) as tensors:
        known = _known(path, _header(path))
        network = build_network(known["architecture"])
        preprocess = Preprocess.of_record(known["preprocessing"])
        _check_fit(path, network, preprocess.image_shape, tensors)
        flat = {name: tensor.read() for name, tensor in tensors.items()}
    _say_what_is_odd(path, flat)
    return TrainedNet(
        network=network,
        variables=traverse_util.unflatten_dict(flat, sep="/"),
        preprocess=preprocess,
        class_names=tuple(known["classes"]),
        config=from_dict(known["config"]).lock(),
        **{key: known["training"][key] for key in ORIGIN},
    )


def _header(path: Path) -> dict[str, str]:
    """The metadata of an export of ours."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            header = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise UserError(
            f"{path} is no whole .safetensors file ({error}): copy it again"
        ) from error
    names = header.get("names")
    if names != OURS:
        whose = f"has the names of {names}" if names else "is no export of cnnjax"
        raise UserError(
            f"{path} {whose}: read it with cnnjax.interop.load(name, path, source=...)"
        )
    return header


def _say_what_is_odd(path: Path, flat: dict[str, np.ndarray]) -> None:
    """Names values that only a damaged file or a diverged run has."""
    infinite = [name for name, leaf in flat.items() if not np.isfinite(leaf).all()]
    below = [n for n, leaf in flat.items() if n.endswith("/var") and (leaf < 0).any()]
    said = {"weights that are not finite": infinite, "negative variances": below}
    for what, names in said.items():
        if names:
            _LOG.warning("%s has %s (%s)", printable(path), what, listed(names))


def _known(path: Path, header: dict[str, str]) -> dict[str, Any]:
    """What the header of an export tells of the net."""
    flaws: list[str] = []
    try:
        found = {key: json.loads(header[key]) for key in header.keys() - {"names"}}
        known = EXPORT.sift(found, "", flaws)
    except (ValueError, RecursionError):
        flaws = ["it is not valid JSON"]
    if flaws:
        raise UserError(
            f"{path} is no whole export of cnnjax (in its header {flaws[0]}): copy it "
            "again"
        )
    return known


def metadata(net: TrainedNet, names: str) -> dict[str, Any]:
    """The metadata of an export, as JSON, without local paths."""
    config = to_dict(net.config)
    config["data"]["data_dir"] = ""
    if "start" in config:  # which the first versions had not
        config["start"]["folder"] = ""
    return {
        "names": names,
        "version": package_version("cnnjax"),
        "architecture": architecture_of(net.config, len(net.class_names), plain=True),
        "classes": list(net.class_names),
        "preprocessing": net.preprocess.record(),
        "training": {key: getattr(net, key) for key in ORIGIN},
        "config": config,
    }


def _safetensors(net: TrainedNet, path: Path, sidecar: Path) -> Exported:
    flat = traverse_util.flatten_dict(net.variables, sep="/")
    _write_safetensors(path, flat, metadata(net, OURS))
    return Exported(path, None, OURS)


def _orbax(net: TrainedNet, path: Path, sidecar: Path) -> Exported:
    path = path.absolute()  # Orbax saves nothing, silently, under a relative path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path, net.variables)
    except OSError as error:
        raise write_failure(path, error) from error
    write_json(sidecar, metadata(net, OURS))
    return Exported(path, sidecar, OURS)


def _torch(net: TrainedNet, path: Path, sidecar: Path) -> Exported:
    _check_leaves(net)
    for source in interop.sources_of(net.config.model.name):
        try:
            state_dict = _named_as(net, source)
        except UserError:  # it has not this form of the net
            continue
        return _write_state_dict(net, path, sidecar, state_dict, source)
    slots = slots_of(
        net.network, net.preprocess.image_shape, lambda _, path: path.replace("/", ".")
    )
    state_dict = state_dict_of(slots, net.variables)
    return _write_state_dict(net, path, sidecar, state_dict, OURS)


def _of_source(source: str) -> Callable[[TrainedNet, Path, Path], Exported]:
    def write(net: TrainedNet, path: Path, sidecar: Path) -> Exported:
        _check_leaves(net)
        state_dict = _named_as(net, source)
        return _write_state_dict(net, path, sidecar, state_dict, source)

    return write


FORMATS: dict[str, Callable[[TrainedNet, Path, Path], Exported]] = {
    "safetensors": _safetensors,
    "orbax": _orbax,
    "torch": _torch,
    **{source: _of_source(source) for source in interop.SOURCES},
}


def _named_as(net: TrainedNet, source: str) -> dict[str, np.ndarray]:
    """The state dict of a source's net of the same function.

    Raises:
      UserError: it has none.
    """
    architecture = architecture_of(net.config, len(net.class_names), plain=True)
    arguments = dict(architecture["model"])
    name, shape = arguments.pop("name"), net.preprocess.image_shape
    return interop.to_torch(
        name,
        net.variables,
        source,
        input_shape=shape,
        norm=Norm(**architecture["norm"]),
        num_classes=architecture["num_classes"],
        **arguments,
    )


def _write_state_dict(
    net: TrainedNet,
    path: Path,
    sidecar: Path,
    state_dict: dict[str, np.ndarray],
    names: str,
) -> Exported:
    # What load_export reads has our layouts as well; these are those of torch.
    known = metadata(net, f"{names} for torch" if names == OURS else names)
    if path.suffix.lower() == SAFETENSORS:
        _write_safetensors(path, state_dict, known)
        return Exported(path, None, names)
    write_bytes(path, torch_file(state_dict))
    write_json(sidecar, known)
    return Exported(path, sidecar, names)


def _write_safetensors(
    path: Path, arrays: dict[str, Any], known: dict[str, Any]
) -> None:
    header = {key: json.dumps(value) for key, value in known.items() if key != "names"}
    header["names"] = known["names"]
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_bytes(path, safetensors.numpy.save(whole, header))


def _check_leaves(net: TrainedNet) -> None:
    """Refuses leaves for which nothing is known of torch's name or layout."""
    for path, leaf in traverse_util.flatten_dict(net.variables).items():
        if path[-1] not in LEAVES or np.ndim(leaf) not in (1, 2, 4):
            raise UserError(
                f"torch has no name or layout for {'/'.join(path)} "
                f"{list(np.shape(leaf))}: use the format 'safetensors' or 'orbax' "
                "(--format)"
            )


def _check_fit(
    path: Path, network: nn.Module, shape: tuple[int, ...], tensors: dict[str, Any]
) -> None:
    wanted = traverse_util.flatten_dict(
        meta.unbox(abstract_variables(network, shape)), sep="/"
    )
    for name in dict.fromkeys([*wanted, *tensors]):
        here, there = wanted.get(name), tensors.get(name)
        for key in ("shape", "dtype"):
            ours, theirs = getattr(here, key, None), getattr(there, key, None)
            if ours != theirs:
                raise UserError(
                    f"{path} does not fit its net as this version builds it: "
                    f"{printable(name)} is {theirs or 'missing'} there and "
                    f"{ours or 'missing'} here"
                )
