"""An overview of many ablations, one row each, from their files alone."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnjax.ablation.define.claim import Claim
from cnnjax.ablation.define.spec import Ablation
from cnnjax.ablation.judge.collect import Sweep, collect
from cnnjax.ablation.judge.verdict import Verdict
from cnnjax.ablation.judge.verdicts import judge, over_atlas
from cnnjax.ablation.judge.wording import RULE_OF_ATLAS
from cnnjax.ablation.plan import load_ablation
from cnnjax.ablation.report import tables
from cnnjax.ablation.report.answer import answer, headline
from cnnjax.ablation.report.pages import render
from cnnjax.ablation.report.plots.figures import Panel, png_of
from cnnjax.ablation.report.plots.groups import answer_group
from cnnjax.errors import UserError
from cnnjax.records import write_bytes, write_text

THUMBNAIL_DPI = 72


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of the overview.

    Attributes:
      name: of the ablation.
      ablation: its definition, from the plan if there is one; None if it is broken.
      sweep: its runs; None before it is planned.
      verdicts: on the claims of the scale.
      not_posed: the claims whose arms the scale lacks.
      trouble: a sentence that explains why it was refused or failed, or ''.
    """

    name: str
    ablation: Ablation | None = None
    sweep: Sweep | None = None
    verdicts: Sequence[Verdict] = ()
    not_posed: Sequence[Claim] = ()
    trouble: str = ""

    @property
    def title(self) -> str:
        return self.ablation.title if self.ablation else self.name

    @property
    def num_runs(self) -> int:
        return len(self.sweep.rows) if self.sweep else 0

    @property
    def num_done(self) -> int:
        return sum(row.status == "done" for row in self.sweep.rows) if self.sweep else 0

    @property
    def num_failed(self) -> int:
        """Runs that failed, for example because they diverged."""
        rows = self.sweep.rows if self.sweep else ()
        return sum(row.status == "failed" for row in rows)

    @property
    def is_finished(self) -> bool:
        """Whether every run is done or failed, and all have the planned config."""
        return self.sweep is not None and self.num_done + self.num_failed == len(
            self.sweep.rows
        )

    @property
    def num_arms(self) -> int:
        return len(self.sweep.arm_names) if self.sweep else 0

    @property
    def seeds(self) -> str:
        """Runs per arm: '5', or '3 to 8'; '' before it is planned."""
        if self.sweep is None:
            return ""
        counts = Counter(row.arm for row in self.sweep.rows).values()
        low, high = min(counts), max(counts)
        return str(low) if low == high else f"{low} to {high}"

    @property
    def seconds(self) -> float:
        """Seconds of compiling and running, summed over all runs; nan if unknown."""
        if self.sweep is None:
            return math.nan
        total = tables.total_cost(tables.cost_lines(self.sweep))
        return total.compile_seconds + total.run_seconds

    @property
    def tally(self) -> Counter[str]:
        """Verdict -> number of claims."""
        return Counter(verdict.verdict for verdict in self.verdicts)

    @property
    def headline(self) -> Verdict | None:
        """The verdict that answers the question."""
        return headline(self.verdicts)

    @property
    def answer(self) -> str:
        """The answer in a sentence; '' without a claim."""
        return answer(self.headline) if self.headline else ""

    @property
    def others(self) -> list[Verdict]:
        """The verdicts beside the headline."""
        return [verdict for verdict in self.verdicts if verdict is not self.headline]

    @property
    def panel(self) -> Panel | None:
        """The picture that answers the question; None if nothing was measured."""
        group = answer_group(self.sweep, self.headline) if self.sweep else None
        return group.panels[0] if group else None


def read_entry(name: str, workdir: Path, trouble: str = "", scale: str = "") -> Entry:
    """Reads one ablation, whatever its state.

    Args:
      name: of `configs/ablations/`.
      workdir: folder of its runs, which may not exist.
      trouble: why its last attempt failed, if it did.
      scale: that the folder must be of; '' for any ablation at any scale.
    """
    try:
        if not (workdir / "plan.json").is_file():
            return Entry(name, load_ablation(name), trouble=trouble)
        sweep = collect(workdir)
        held = sweep.ablation.name, sweep.scale_name
        if scale and held != (name, scale):
            held_words = f"its folder holds {held[0]!r} at scale {held[1]!r}"
            return Entry(name, load_ablation(name), trouble=held_words)
        verdicts = judge(sweep)
    except UserError as error:
        return Entry(name, trouble=str(error))
    posed = sweep.ablation.posed(sweep.scale_name)
    not_posed = [claim for claim in sweep.ablation.claims if claim not in posed]
    return Entry(name, sweep.ablation, sweep, verdicts, not_posed, trouble)


def write_index(folder: Path, scale: str, entries: Sequence[Entry]) -> Path:
    """Writes `index.html` and `index.md`, which link to `../<name>/<scale>/`.

    Args:
      folder: of the two files; created if missing.
      scale: of all entries.
      entries: rows, in this order.

    Returns:
      The page.
    """
    thumbnails = folder / "thumbnails"
    thumbnails.mkdir(parents=True, exist_ok=True)
    pictures = {
        entry.name: f"thumbnails/{entry.name}.png"
        for entry in entries
        if save_thumbnail(entry, thumbnails / f"{entry.name}.png")
    }
    context = gallery_context(scale, entries) | {"pictures": pictures}
    links = {e.name: f"../{e.name}/{scale}/report" for e in entries if e.sweep}
    for form in ("html", "md"):
        own = {name: f"{link}.{form}" for name, link in links.items()}
        text = render(f"index.{form}.j2", context | {"links": own}, form == "html")
        write_text(folder / f"index.{form}", text)
    return folder / "index.html"


def gallery_context(scale: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """The variables of the templates of an overview, except links and pictures."""
    together = over_atlas([entry.verdicts for entry in entries])
    entries = [
        dataclasses.replace(entry, verdicts=verdicts)
        for entry, verdicts in zip(entries, together, strict=True)
    ]
    run = [entry for entry in entries if entry.sweep]
    return {
        "scale_name": scale,
        "RULE": RULE_OF_ATLAS,
        "entries": entries,
        "num_started": len(run),
        "all_verdicts": [verdict for entry in entries for verdict in entry.verdicts],
        "headlines": [entry.headline for entry in entries if entry.headline],
        "num_runs": sum(entry.num_done + entry.num_failed for entry in run),
        "total_seconds": sum(e.seconds for e in run if e.seconds == e.seconds),
    }


def save_thumbnail(entry: Entry, path: Path) -> bool:
    """Writes the picture that answers the question as a small PNG.

    Returns:
      False if it has none, or one that cannot be drawn, as the report then says.
    """
    try:
        panel = entry.panel
        content = png_of(panel, path.stem, THUMBNAIL_DPI) if panel else b""
    except Exception:
        content = b""
    if content:
        write_bytes(path, content)
    return bool(content)
