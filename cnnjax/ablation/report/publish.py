"""Copies finished reports into `docs/results/`, and their tables into other pages."""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cnnjax.ablation.judge.collect import Sweep, collect, write_csv
from cnnjax.ablation.judge.published import write_published
from cnnjax.ablation.report import definition
from cnnjax.ablation.report.overview import (
    Entry,
    gallery_context,
    read_entry,
    save_thumbnail,
)
from cnnjax.ablation.report.pages import make_context, render
from cnnjax.ablation.report.redrawing import drawn
from cnnjax.ablation.report.replacing import alone, replace_block, replacing
from cnnjax.ablation.report.tables import troubles
from cnnjax.errors import UserError
from cnnjax.names import check_name
from cnnjax.records import write_bytes, write_json, write_text
from cnnjax.texts import as_block
from cnnjax.texts import block as block_of

KEPT = ("report.md", "results.csv")
THUMBNAIL = "plots/thumbnail.png"
# Pages of docs/ with blocks of tables, which lie beside `results/`.
TABLES, QUESTIONS = "first_verdict.md", "atlas.md"
# Of a report without its pictures, which may be as large again.
MOST_BYTES = 300_000
# How a path starts, and a folder in it, which may have up to four words.
_ROOT = r"(?:(?:file:/*)?(?:~[\w.-]*)?/|[A-Za-z]:[/\\]+|\\\\)"
_WORD = r"[^\s/\\'\",;]+"
_FOLDER = rf"{_WORD}(?:(?<![:.!?)]) (?![-(])[^\s/\\'\",;=:()]+){{0,3}}[/\\]+"


def publish(workdir: Path, repository: Path) -> Path:
    """Writes `docs/results/<ablation>-<scale>/`, and names it in the list of reports.

    TABLES has the claims of some ablations between marks with that name, which are
    written too.

    Args:
      workdir: folder of a finished ablation.
      repository: folder that contains docs/.

    Returns:
      The folder written.

    Raises:
      UserError: a run is missing or excluded.
    """
    sweep = collect(workdir)
    entry = read_entry(sweep.ablation.name, workdir)
    if not entry.is_finished:
        first = next(t for t in troubles(sweep) if t.status != "failed")
        raise UserError(
            f"{workdir} has runs that are not done, or not comparable ({first.arm}, "
            f"{first.runs}: {first.reason}): finish the ablation first"
        )
    name = _report_name(sweep.ablation.name, sweep.scale_name)
    results = repository / "docs" / "results"
    with alone(repository):
        with replacing(results, name) as new:
            records = _write(entry, workdir, new)
            block = render("readme.md.j2", make_context(records), autoescape=False)
            tables = repository / "docs" / TABLES
            if block_of(tables.read_text("utf-8"), name) is not None:
                replace_block(tables, name, block)
        definition.refresh(repository)
    return results / name


def without_folders(text: str) -> str:
    """Replaces folders of a machine in recorded texts by '...'."""
    keys = "data_dir|workdir|config|ablation|resume_from|from"
    # Also in --set=data.data_dir=/data/tfds; a word with spaces is in quotes.
    quoted = rf"('[^\s']*(?:{keys})=)[~/][^']*/([^/']+')"
    plain = rf"((?:{keys})=)[~/](?:{_FOLDER})*([^/\s]+)"
    # Of any text: an absolute path, neither behind a word as in 'and/or' nor a link.
    other = rf"(?<![\w./~\\]){_ROOT}(?:{_FOLDER})+({_WORD})"
    text = re.sub(plain, r"\1.../\2", re.sub(quoted, r"\1.../\2", text))
    return re.sub(other, r".../\1", text)


def _cleaning(workdir: Path) -> Callable[[str], str]:
    """Takes folders of this machine out of texts, also those with spaces in them."""
    own = {str(workdir.absolute()), str(workdir.resolve()), str(Path.home())} - {"/"}
    known = re.compile("|".join(map(re.escape, sorted(own, key=len, reverse=True))))
    return lambda text: without_folders(known.sub("...", text))


def publish_atlas(
    root: Path, scale: str, repository: Path, names: Sequence[str]
) -> tuple[list[Path], dict[str, str]]:
    """Publishes all finished ablations of a scale, with a gallery of them.

    Writes a folder for each in `docs/results/`, the gallery `docs/results/README.md`,
    and the block `atlas-<scale>` of QUESTIONS.

    Args:
      root: folder of runs.
      scale: of all.
      repository: folder that contains docs/.
      names: of the ablations.

    Returns:
      The folders written, and name -> why it is not, of those that are left out.

    Raises:
      UserError: none could be published, or that page lacks the block.
    """
    with alone(repository):
        return _publish_atlas(root, scale, repository, names)


def _publish_atlas(
    root: Path, scale: str, repository: Path, names: Sequence[str]
) -> tuple[list[Path], dict[str, str]]:
    results = repository / "docs" / "results"
    entries, folders, left = [], [], {}
    for name in names:
        entry = read_entry(name, root / name / scale, scale=scale)
        try:
            _require_finished(entry)
            with replacing(results, _report_name(name, scale)) as new:
                _write(entry, root / name / scale, new)
        except UserError as error:  # which concerns this one alone
            left[name] = str(error)
            continue
        entries.append(entry)
        folders.append(results / _report_name(name, scale))
    if not entries:
        raise UserError(
            f"no ablation in {root} is finished at scale {scale}: run ./launch.sh "
            f"atlas --scale={scale} first, or give its --workdir"
        )
    context = gallery_context(scale, entries)
    _write_gallery(context, entries, folders, results)
    reports = [f"results/{folder.name}/report.md" for folder in folders]
    links = dict(zip((entry.name for entry in entries), reports, strict=True))
    block = render("readme_atlas.md.j2", context | {"links": links}, autoescape=False)
    replace_block(repository / "docs" / QUESTIONS, f"atlas-{scale}", block)
    definition.refresh(repository)
    return folders, left


def _require_finished(entry: Entry) -> None:
    if not entry.is_finished:
        raise UserError(entry.trouble or "it is not finished")


def _report_name(ablation: str, scale: str) -> str:
    """Of the folder; both names come from a record, which anyone may have written."""
    check_name("ablation", ablation, "plan.json")
    return f"{ablation}-{check_name('scale', scale, 'plan.json')}"


def _write(entry: Entry, workdir: Path, folder: Path) -> Sweep:
    """Writes what is published of a work folder into an empty folder.

    The page, the table and the figures are drawn from the published records alone, as
    anyone can draw them again.

    Returns:
      What the records tell.
    """
    sweep = entry.sweep  # not collected again: this one was found complete
    assert sweep is not None
    made_with = definition.of_runs(sweep, workdir)
    write_json(folder / definition.FILE, made_with)
    most = MOST_BYTES - _text_bytes(sweep) - (folder / definition.FILE).stat().st_size
    write_published(sweep, workdir, folder, _cleaning(workdir), most)
    with drawn(folder) as (drawing, _):
        for file in KEPT:
            write_bytes(folder / file, (drawing / file).read_bytes())
        definition.add_note(folder, made_with)
        for picture in sorted((drawing / "plots").glob("*.png")):
            write_bytes(folder / "plots" / picture.name, picture.read_bytes())
        save_thumbnail(entry, folder / THUMBNAIL)
        return collect(drawing)


def _text_bytes(sweep: Sweep) -> int:
    """Bytes of page and table, however many rows of the curves are kept."""
    page = render("report.md.j2", make_context(sweep), autoescape=False)
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch) / "results.csv"
        write_csv(sweep, table)
        return len(page.encode()) + table.stat().st_size


def _write_gallery(
    context: dict, entries: Sequence[Entry], folders: Sequence[Path], results: Path
) -> None:
    pairs = list(zip((entry.name for entry in entries), folders, strict=True))
    links = {name: f"{folder.name}/report.md" for name, folder in pairs}
    pictures = {
        name: f"{folder.name}/{THUMBNAIL}"
        for name, folder in pairs
        if (folder / THUMBNAIL).is_file()
    }
    shown = context | {"links": links, "pictures": pictures}
    page = render("index.md.j2", shown, autoescape=False)
    # Filled in by `definition.refresh`.
    text = f"{page.rstrip()}\n\n{as_block(definition.LIST, '')}\n"
    write_text(results / "README.md", text)
