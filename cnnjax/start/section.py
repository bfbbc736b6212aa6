"""Section `start` checked, and its path made a name, a folder and a digest.

Nothing here reads an array, and nothing imports jax: plans need it too.
"""

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cnnjax.config import BEFORE, digest, override, splat
from cnnjax.errors import UserError, in_range, printable, shown, unknown_name
from cnnjax.files import open_regular
from cnnjax.record_kinds import WHOLE_CONFIG
from cnnjax.records import is_there, read_record

WHICH = ("last", "best", "ema", "initial")
PREPROCESS = ("source", "own")
STATISTICS = ("trained", "move", "stay")
SOURCES = ("", "torchvision", "timm", "cifar", "cifar_append")
# Keys that only weights give a meaning.
WEIGHTS_KEYS = tuple(
    f"start.{key}"
    for key in ("folder", "digest", "source", "which", "seed", "drawn", "preprocess")
)
_LAST_STAGES = re.compile(r"last_stages=([1-9]\d*)")
_MOST_BYTES = 2**40
_BLOCK = 2**20
# What the published weights of torchvision, timm and the CIFAR ports were trained with.
OF_FILES = "channel"


@dataclasses.dataclass(frozen=True)
class Rate:
    """A factor on the learning rate of the parameters that a pattern matches."""

    pattern: re.Pattern
    factor: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """Section `start`; see configs/base.py for each key.

    Raises:
      UserError: a value out of range, or a setting that belongs to others.
    """

    weights: str
    folder: str
    digest: str
    source: str
    which: str
    seed: int
    drawn: tuple[str, ...]
    preprocess: str
    trains: str
    rates: tuple[str, ...]
    unfreeze_epochs: float
    statistics: str
    norm_parameters: bool

    def __post_init__(self):
        for key, value, allowed in (
            ("source", self.source, SOURCES),
            ("which", self.which, WHICH),
            ("preprocess", self.preprocess, PREPROCESS),
            ("statistics", self.statistics, STATISTICS),
        ):
            if value not in allowed:
                raise unknown_name(key, value, allowed, f"config.start.{key}")
        for key in ("weights", "folder"):
            if "\0" in getattr(self, key):
                raise UserError(
                    f"config.start.{key} is {shown(getattr(self, key))}, and no path "
                    "has a NUL character: give another"
                )
        if self.seed < -1:
            raise UserError(
                f"config.start.seed is {self.seed}: give the number of a seed of that "
                "run, or -1 for the same seed as here"
            )
        in_range("start.unfreeze_epochs", self.unfreeze_epochs, 0, math.inf, "epochs")
        if self.trains not in ("all", "head") and not self.num_stages:
            raise UserError(
                f"config.start.trains is {shown(self.trains)}: allowed are all, head, "
                "and last_stages=N with N of at least 1"
            )
        compiled("drawn", self.drawn)
        _ = self.factors  # refuses what is none
        if not self.weights and (left := self._without_weights()):
            raise UserError(
                f"config.start.{left[0]} is for a net that starts from weights: set "
                f"config.start.weights, or leave config.start.{left[0]} at its default"
            )

    @property
    def num_stages(self) -> int:
        """N of last_stages=N; 0 for another choice."""
        found = _LAST_STAGES.fullmatch(self.trains)
        return int(found[1]) if found else 0

    @property
    def factors(self) -> tuple[Rate, ...]:
        """The patterns of `rates`, each with its factor.

        Raises:
          UserError: one is no 'regular expression=factor'.
        """
        return tuple(_rate(text) for text in self.rates)

    @property
    def path(self) -> Path:
        """Where the weights lie."""
        return Path(self.folder).expanduser() / self.weights

    @property
    def trains_all(self) -> bool:
        """Whether every parameter trains at the full rate all the time."""
        return (
            self.trains == "all"
            and not self.rates
            and not self.unfreeze_epochs
            and self.norm_parameters
        )

    def _without_weights(self) -> list[str]:
        """Keys that only weights give a meaning, and that are set."""
        usual = {key.partition(".")[2]: BEFORE[key] for key in WEIGHTS_KEYS}
        as_stored = {key: getattr(self, key) for key in usual}
        as_stored["drawn"] = list(self.drawn)
        return [key for key in usual if as_stored[key] != usual[key]]


def _rate(text: str) -> Rate:
    pattern, equals, factor = text.rpartition("=")
    try:
        value = float(factor)
    except ValueError:
        value = -1.0
    if not equals or not pattern or not 0 <= value < math.inf:
        raise UserError(
            f"config.start.rates has {shown(text)}, which is no 'regular "
            "expression=factor' with a factor of at least 0, such as 'stage1=0.1'"
        )
    return Rate(compiled("rates", (pattern,))[0], value)


def compiled(key: str, patterns: Sequence[str]) -> tuple[re.Pattern, ...]:
    """Regular expressions, refused in a sentence.

    Raises:
      UserError: one that does not compile.
    """
    try:
        return tuple(re.compile(pattern) for pattern in patterns)
    except re.error as error:
        raise UserError(
            f"config.start.{key} {shown(tuple(patterns))} has something that is no "
            f"regular expression: {error}"
        ) from error


def resolved(config: ConfigDict) -> ConfigDict:
    """The config with name, folder and digest of its start weights, and their kind of
    standardisation; the same object where there is nothing to do.

    A file whose digest is given need not be there: plans do without it.

    Args:
      config: of a run.

    Raises:
      UserError: there is nothing where `start.weights` says.
    """
    start = config.get("start") or {}
    if not start.get("weights") or (start.get("folder") and start.get("digest")):
        return config
    splat("start", Start, start)  # refuses what is no path
    path = _located(start["weights"], start["folder"], config.data.data_dir)
    changes: dict[str, Any] = {}
    if path is None and not start["digest"]:
        raise _nowhere(start["weights"], config.data.data_dir)
    if path is not None and not start["folder"]:
        changes |= {"start.weights": path.name, "start.folder": str(path.parent)}
    parent = None if path is None else _config_of(path)
    if path is not None and not start["digest"]:
        changes["start.digest"] = digest(parent) if parent else digest_of_file(path)
    changes |= of_source(start, parent)
    config = config.copy_and_resolve_references()
    override(config, changes)
    return config.lock()


def of_source(start: Mapping, parent: Mapping | None) -> dict[str, Any]:
    """What a run takes over from the config of the weights that it starts from.

    Args:
      start: section `start`.
      parent: config of the run; None for a file.
    """
    if start["preprocess"] != "source":
        return {}
    kind = parent["augment"]["standardize"] if parent else OF_FILES
    return {"augment.standardize": kind}


def _located(weights: str, folder: str, data_dir: str) -> Path | None:
    """The absolute path of the weights; None if there is nothing."""
    places = [Path(folder).expanduser()]
    if not folder and data_dir:
        places.append(Path(data_dir).expanduser())
    for place in places:
        path = (place / Path(weights).expanduser()).absolute()
        if is_there(path):
            return path
    return None


def _nowhere(weights: str, data_dir: str) -> UserError:
    beside = f" or in {printable(data_dir)}" if data_dir else ""
    return UserError(
        f"there is neither a run nor a file {printable(weights)} here{beside}: give "
        "its whole path as config.start.weights"
    )


def _config_of(path: Path) -> dict[str, Any] | None:
    """Config of the run in a folder, or of the first cell of an arm; None for a file.

    Raises:
      UserError: a folder without a run.
    """
    if not path.is_dir():
        return None
    cells = [path, *sorted(path.glob("seeds-*"))]
    for cell in cells:
        if is_there(cell / "config.json"):
            return read_record(cell / "config.json", WHOLE_CONFIG)
    raise UserError(
        f"{printable(path)} holds no run (no config.json): give the folder of a "
        "training or of an arm as config.start.weights"
    )


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits.

    Raises:
      UserError: it cannot be read.
    """
    total = hashlib.sha256()
    try:
        with open_regular(path, _MOST_BYTES) as file:
            while block := file.read(_BLOCK):
                total.update(block)
    except OSError as error:
        raise UserError(
            f"the start weights {printable(path)} cannot be read: "
            f"{error.strerror or error}"
        ) from error
    return total.hexdigest()


def require_unchanged(start: Start) -> None:
    """Refuses weights that are not those of the digest.

    Raises:
      UserError: they are gone, or others lie there.
    """
    path = start.path
    if not is_there(path):
        raise UserError(
            f"the start weights {printable(path)} are gone: put them back, or change "
            "config.start.weights and config.start.folder"
        )
    parent = _config_of(path)
    found = digest(parent) if parent else digest_of_file(path)
    if start.digest and found != start.digest:
        raise UserError(
            f"the start weights {printable(path)} are not those of this run (digest "
            f"{found[:12]}, not {start.digest[:12]}): put the right ones there, or "
            "give another --workdir and no config.start.digest"
        )
