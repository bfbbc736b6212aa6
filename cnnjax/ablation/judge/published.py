"""The records of a published report: enough to judge it again and to continue it.

Beside its `plan.json` lies `records.jsonl`, one JSON object a line: first the format,
then for each cell its provenance and what its runs have in common, followed by the
rest of each run. A run is its `result.json` and its curves; see `compact.py`. There
are no weights.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.ablation.judge.collect import Sweep
from cnnjax.ablation.judge.compact import (
    COLUMNS,
    RUNNING,
    common_part,
    merge,
    rest,
    to_columns,
    to_rows,
)
from cnnjax.ablation.judge.verified import FILE as VERIFIED_FILE
from cnnjax.errors import UserError, printable
from cnnjax.files import read_regular
from cnnjax.record_kinds import PLAN, SEED, SPLITS
from cnnjax.records import (
    PUBLISHED,
    from_line,
    is_there,
    no_run,
    read_record,
    sift_metrics,
    to_line,
    unreadable,
    write_bytes,
    write_json,
    write_text,
)
from cnnjax.schema import Items, Maybe, Number, Object, Table, Text
from cnnjax.seal import (
    OF_METRICS,
    OF_RUN,
    SEAL,
    lines_digest,
    result_digest,
    sealed_with,
)

FORMAT = 1
_HEAD = {"format": FORMAT}
# In the published plan: the content of `verified.json`.
VERIFIED_RUNS = "verified"
PLAN_FILE, RECORDS_FILE = "plan.json", PUBLISHED
# Rows of the curves of a run, and whether accuracies of single classes are kept: the
# first of these that is small enough is written, else the last.
RICHNESS = (
    (200, True),
    (200, False),
    (100, False),
    (50, False),
    (25, False),
    (9, False),
)
MOST_ROWS = RICHNESS[0][0]
# Bytes that are read, and those of all runs once each has what it shares again.
MOST_READ, MOST_UNPACKED = 16 * 2**20, 128 * 2**20

_NAME = Text(most=1000)
_VALUES = Items(Maybe(Number(non_finite=True)), most=MOST_ROWS)
CURVES = Table(
    Object(
        needs=dict.fromkeys(COLUMNS, _VALUES)
        | {"step": Items(Number(0, whole=True), most=MOST_ROWS)},
        agrees=lambda found: (
            "has columns of different lengths"
            if len({len(found[name]) for name in COLUMNS}) > 1
            else None
        ),
    ),
    key=Text(of=(RUNNING, *SPLITS)),
)
CELL_LINE = Object({"cell": _NAME, "provenance": Object(), "common": Object()})
RUN_LINE = Object({"cell": _NAME, "seed": SEED, "run": Object()})
RUN = Object({"result": Object(), "curves": CURVES})


@dataclasses.dataclass(frozen=True)
class PublishedRun:
    """One run.

    Attributes:
      result: as in `result.json`; whoever uses it checks what is in it.
      metrics: the content of `metrics.jsonl`, with fewer rows than there were.
    """

    result: Mapping[str, Any]
    metrics: bytes

    @property
    def is_whole(self) -> bool:
        """Whether its digest is that of what is there."""
        return self.result.get(SEAL) == result_digest(self.result)


@dataclasses.dataclass(frozen=True)
class PublishedCell:
    """The runs of a cell, by seed, with its `provenance.json`."""

    provenance: Mapping[str, Any]
    runs: dict[int, PublishedRun] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Published:
    """The records of a report.

    Attributes:
      name: of the ablation and the scale, as publish calls the folder.
      plan: the content of `plan.json`.
      cells: by name.
      warnings: sentences about lines that cannot be read.
    """

    name: str
    plan: Mapping[str, Any]
    cells: Mapping[str, PublishedCell]
    warnings: list[str]


def write_published(
    sweep: Sweep, workdir: Path, folder: Path, clean: Callable[[str], str], most: int
) -> None:
    """Writes `plan.json` and `records.jsonl`, with as much of each run as fits.

    Args:
      sweep: what was collected in `workdir`.
      workdir: where the curves are.
      folder: to write into.
      clean: takes folders of this machine out of a text.
      most: bytes of the two files.
    """
    verified = {VERIFIED_RUNS: sweep.verified} if sweep.verified else {}
    plan = _line(_cleaned({**sweep.plan, **verified}, clean))
    for most_rows, with_classes in RICHNESS:
        lines = _lines(sweep, workdir, clean, most_rows, with_classes)
        records = "".join(f"{line}\n" for line in lines)
        if len(plan) + len(records) <= most:
            break
    write_text(folder / PLAN_FILE, f"{plan}\n")
    write_text(folder / RECORDS_FILE, records)


def read_published(folder: str | Path) -> Published:
    """Reads what `write_published` wrote; runs that cannot be read are left out.

    Raises:
      UserError: one of the files is missing, cannot be read, or is of a later version.
    """
    folder = Path(folder)
    path = folder / RECORDS_FILE
    if not is_there(path) or not is_there(folder / PLAN_FILE):
        raise no_run(
            folder,
            "a published report",
            (RECORDS_FILE,),
            "records of published runs",
            "folder",
        )
    plan = read_record(folder / PLAN_FILE, PLAN, "folder")
    try:
        first, *lines = read_regular(path, MOST_READ).split(b"\n")
    except OSError as error:
        raise unreadable(path, error) from error
    if _parsed(first) != {"format": FORMAT}:
        raise UserError(
            f"{printable(path)} does not begin with the line {to_line(_HEAD)}, as "
            "records of this version do: publish the runs again, or read them with "
            "the version that wrote them"
        )
    reader = _Reader(path)
    for number, line in enumerate(lines, start=2):
        if line:
            reader.read(number, line)
    name = "-".join(plan.get(key, "unknown") for key in ("ablation", "scale"))
    return Published(name, plan, reader.cells, reader.warnings)


def commits_of(provenance: Mapping[str, Any]) -> list[str]:
    """The commits that trained a cell, in order; earlier versions named one."""
    one = [{"commit": provenance.get("git_commit")}]
    known = [entry["commit"] for entry in provenance.get("commits") or one]
    return [str(commit or "unknown") for commit in dict.fromkeys(known)]


def unpack(published: Published, workdir: Path) -> None:
    """Writes a work folder from which everything can be collected.

    Cells and seeds that are not planned are left out.
    """
    plan = {**published.plan}
    if verified := plan.pop(VERIFIED_RUNS, None):
        write_json(workdir / VERIFIED_FILE, verified)
    write_json(workdir / PLAN_FILE, plan)
    for arm in published.plan["arms"]:
        for cell in arm["cells"]:
            if known := published.cells.get(cell["name"]):
                write_cell(workdir / cell["name"], known, cell["seeds"])


def write_cell(
    folder: Path, cell: PublishedCell, seeds: Sequence[int], origin: str = ""
) -> None:
    """Writes the files of a cell, with those of its runs that there are.

    The results come after everything else, for they say that the cell is done.

    Args:
      folder: of the cell.
      cell: published.
      seeds: of the cell.
      origin: name of the report, if the cell becomes part of an ablation.
    """
    named = {"origin": origin} if origin else {}
    write_json(folder / "provenance.json", {**cell.provenance, **named})
    runs = {seed: cell.runs[seed] for seed in seeds if seed in cell.runs}
    for seed, run in runs.items():
        write_bytes(folder / f"seed-{seed}" / "metrics.jsonl", run.metrics)
    for seed, run in runs.items():
        write_json(folder / f"seed-{seed}" / "result.json", run.result)


class _Reader:
    """Takes the lines behind the first, one by one."""

    def __init__(self, path: Path):
        self.path = path
        self.cells: dict[str, PublishedCell] = {}
        self.warnings: list[str] = []
        self._common: dict[str, tuple[Any, int]] = {}
        self._size = 0

    def read(self, number: int, line: bytes) -> None:
        """Takes one line; one that does not fit becomes a warning.

        Raises:
          UserError: all runs together are larger than any report has.
        """
        flaws: list[str] = []
        record = _parsed(line)
        is_cell = isinstance(record, dict) and "common" in record
        kind = CELL_LINE if is_cell else RUN_LINE
        record = kind.sift(record, "", flaws)
        try:
            if not flaws and is_cell:
                self._cell(record, len(line))
            elif not flaws:
                self._run(record, len(line), flaws)
        except RecursionError:
            flaws.append("it is nested too deeply")
        if flaws:
            where = f"{self.path.parent.name}/{self.path.name}"
            self.warnings.append(
                f"line {number} of {printable(where)} is left out: {flaws[0]}."
            )

    def _cell(self, record: dict[str, Any], size: int) -> None:
        if record["cell"] not in self.cells:
            self.cells[record["cell"]] = PublishedCell(record["provenance"])
            self._common[record["cell"]] = record["common"], size

    def _run(self, record: dict[str, Any], size: int, flaws: list[str]) -> None:
        if record["cell"] not in self.cells:
            flaws.append("there is no line of its cell before it")
            return
        shared, more = self._common[record["cell"]]
        self._size += size + more
        if self._size > MOST_UNPACKED:
            raise UserError(
                f"the runs in {printable(self.path)} have more than {MOST_UNPACKED:,} "
                "bytes: no report is that large, so give another folder"
            )
        run = RUN.sift(merge(shared, record["run"]), "", flaws)
        if not flaws:
            _line(run)  # it must be possible to write it again
            metrics = _metrics(run["curves"])
            result = run["result"] | {OF_METRICS: lines_digest(metrics)}
            found = PublishedRun(result, metrics)
            self.cells[record["cell"]].runs.setdefault(record["seed"], found)


def _line(value: Any) -> str:
    """Like `to_line`, without spaces."""
    return json.dumps(json.loads(to_line(value)), separators=(",", ":"))


def _parsed(line: bytes) -> Any:
    """The value in a line; None if it is not JSON."""
    try:
        return from_line(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def _lines(
    sweep: Sweep,
    workdir: Path,
    clean: Callable[[str], str],
    most_rows: int,
    with_classes: bool,
) -> Iterator[str]:
    yield to_line(_HEAD)
    rows = {(row.arm, row.fold, row.seed): row for row in sweep.rows}
    for arm in sweep.plan["arms"]:
        for cell in arm["cells"]:
            name = cell["name"]
            runs = []
            for seed in cell["seeds"]:
                result = rows[arm["name"], cell["fold"], seed].result
                if not with_classes:
                    result = _without_classes(result)
                path = workdir / name / f"seed-{seed}" / "metrics.jsonl"
                curves = to_columns(sift_metrics(path)[0], most_rows)
                runs.append(_run(_cleaned(result, clean), curves))
            common = common_part(runs)
            provenance = _cleaned(sweep.provenance[name], clean)
            yield _line({"cell": name, "provenance": provenance, "common": common})
            for seed, run in zip(cell["seeds"], runs, strict=True):
                yield _line({"cell": name, "seed": seed, "run": rest(run, common)})


def _run(result: Mapping[str, Any], curves: dict[str, Any]) -> dict[str, Any]:
    """A run, with digests of what is published of it; the first one is kept beside."""
    known = {**result}
    if result:
        known.setdefault(OF_RUN, result.get(SEAL) or result_digest(result))
    sealed = sealed_with(known, lines_digest(_metrics(curves)))
    del sealed[OF_METRICS]  # follows from the curves
    return {"result": sealed, "curves": curves}


def _metrics(curves: Mapping[str, Any]) -> bytes:
    """The content of `metrics.jsonl`."""
    return "".join(f"{to_line(row)}\n" for row in to_rows(curves)).encode()


def _without_classes(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {
        key: _without_classes(inner)
        for key, inner in value.items()
        if key != "per_class_accuracy"
    }


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    """The value with every text in it cleaned."""
    if isinstance(value, Mapping):
        return {key: _cleaned(inner, clean) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(inner, clean) for inner in value]
    return clean(value) if isinstance(value, str) else value
