"""What the net of a run is fed with: its preprocessing, and the names of classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from cnnjax.config import splat
from cnnjax.data.dataset import load_dataset
from cnnjax.data.preprocess import Preprocess
from cnnjax.data.request import Request
from cnnjax.data.standardize import measure_split
from cnnjax.errors import UserError, printable
from cnnjax.record_kinds import DATA
from cnnjax.records import is_there, read_record
from cnnjax.run.folder import PREPROCESSING, require_own
from cnnjax.run.settings import geometry_of
from cnnjax.run.trained.kinds import FED_NET
from cnnjax.seal import SEAL, result_digest


class Fed(NamedTuple):
    """Preprocessing and class names of a net."""

    preprocess: Preprocess
    class_names: tuple[str, ...]
    notes: list[str]
    record: Mapping[str, Any] = {}


def read_fed(
    folder: Path, config: ConfigDict, ours: Mapping[str, str], data_dir: str
) -> Fed:
    """Reads them, or measures them again for a run of before they were stored.

    Args:
      folder: of the run.
      config: of the run.
      ours: what its files must say of their run.
      data_dir: folder of the data set, for old runs; '' for that of their config.

    Raises:
      UserError: they are of another run, or were changed; there are none, and the data
        set is not there.
    """
    path = folder / PREPROCESSING
    if is_there(path):
        record = read_record(path, FED_NET)
        require_own(path, record, {"data_fingerprint": ours["data_fingerprint"]})
        _require_same(folder, config, record)
        preprocess = Preprocess.of_record(record["preprocessing"])
        return Fed(preprocess, tuple(record["class_names"]), [], record)
    # Sets were always in memory before this key was there.
    section = {"delivery": "resident", **config.data}
    if data_dir:
        section["data_dir"] = data_dir
    try:
        dataset = load_dataset(splat("data", Request, section))
    except UserError as error:
        raise UserError(
            f"{folder} has no {PREPROCESSING}, as runs of earlier versions, and its "
            f"data set cannot be read instead ({error}): give its folder as data_dir "
            "(--data_dir)"
        ) from error
    trained_on = ours["data_fingerprint"]
    if dataset.fingerprint != trained_on:
        raise UserError(
            f"{folder} has no {PREPROCESSING}, as runs of earlier versions, and was "
            f"trained on other data than what is there (fingerprint {trained_on}, now "
            f"{dataset.fingerprint}): give data_dir (--data_dir)"
        )
    kind = config.augment.standardize
    statistics = measure_split(kind, dataset.train, dataset.fingerprint)
    return Fed(
        Preprocess(dataset.image_shape, kind, statistics, config.data.channels == 1),
        dataset.class_names,
        ["standardisation measured again on the data set, as the run stored none"],
    )


def _require_same(folder: Path, config: ConfigDict, record: Mapping[str, Any]) -> None:
    """Refuses what was edited, or is not what config.json and data.json say.

    Args:
      record: of `PREPROCESSING`; one of an earlier version has no digest.
    """
    fed, path = record["preprocessing"], folder / PREPROCESSING
    wrong = ""
    if record.get(SEAL) not in (None, result_digest(record)):
        wrong = "it was edited or damaged"
    elif fed["standardize"] != config.augment.standardize:
        wrong = f"standardize {fed['standardize']}, not {config.augment.standardize}"
    elif fed["to_grey"] != (config.data.channels == 1):
        wrong = f"to_grey {fed['to_grey']}, config.data.channels {config.data.channels}"
    elif Preprocess.of_record(fed).geometry.mark != geometry_of(config).mark:
        wrong = "another geometry than in its config"
    elif is_there(folder / "data.json"):
        data = read_record(folder / "data.json", DATA)
        shape = [fed[key] for key in ("height", "width", "channels")]
        if record["class_names"] != data["class_names"]:
            wrong = "other class names than in data.json"
        elif shape != data.get("image_shape", shape):
            wrong = f"images {shape}, not {data['image_shape']} as in data.json"
    if wrong:
        raise UserError(
            f"{printable(path)} is not of this run ({wrong}): restore it, or load a "
            "copy of the folder that is whole"
        )
