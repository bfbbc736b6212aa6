"""Runs suites, stores their rows, and compares them with committed rows."""

import dataclasses
import datetime
import importlib
import importlib.util
import os
import sys
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.rows import regressions, to_json, to_markdown
from cnnjax.ablation.report.replacing import alone, replace_block
from cnnjax.errors import UserError, unknown_name
from cnnjax.records import read_json, write_json, write_text

# Add a suite: its file, with a function `suite(options)`, and its name here.
SUITES = ("train", "inference", "compile", "seeds", "data", "startup", "convolution")
# Not part of 'all': they need an accelerator or several devices.
ON_DEVICES = ("accelerator", "scaling")
PEERS = ("torch",)


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a suite: rounds, part of the names of cases, peer to compare with."""

    rounds: int
    only: str
    against: str


def run_suites(
    name: str,
    *,
    against: str,
    rounds: int,
    only: str,
    out: Path,
    repository: Path,
    publish: bool,
) -> None:
    """Measures, prints and stores; warns about ratios that became worse.

    Args:
      name: of a suite, or 'all'.
      against: '' or 'torch'.
      rounds: measured rounds.
      only: part of the names of cases; '' for all.
      out: folder of `<suite>.json` and `<suite>.md`.
      repository: contains docs/benchmarks.md and docs/benchmarks/*.json.
      publish: whether to write these.

    Raises:
      UserError: there is no such suite or peer, or only part of a suite would be
        published.
    """
    known = (*SUITES, *ON_DEVICES, "all")
    if name not in known:
        raise unknown_name("suite", name, known, "--suite")
    if against and against not in PEERS:
        raise unknown_name("peer", against, PEERS, "--against; '' for none")
    if against and importlib.util.find_spec(against) is None:
        raise UserError(
            f"--against={against}: {against} is not installed (extra `peers`); leave "
            "out --against to measure without it"
        )
    if publish and only:
        raise UserError("--publish needs whole suites: leave out --only")
    options = Options(rounds, only, against)
    for suite in SUITES if name == "all" else (name,):
        rows = importlib.import_module(f"benchmarks.suites.{suite}").suite(options)
        stored = to_json(suite, rows, _about(suite, options))
        table = to_markdown(stored)
        print(f"\n{suite}\n{table}")
        write_json(out / f"{suite}.json", stored)
        write_text(out / f"{suite}.md", table + "\n")
        committed = repository / "docs" / "benchmarks" / f"{suite}.json"
        if committed.is_file():
            for sentence in regressions(stored, read_json(committed)):
                print(f"slower than committed: {sentence}", file=sys.stderr)
        if publish:
            with alone(repository):
                write_json(committed, stored)
                replace_block(repository / "docs" / "benchmarks.md", suite, table)


def _emulation() -> list[str]:
    """The setting that emulates devices, to precede the command."""
    return [f"XLA_FLAGS={given}"] if (given := os.environ.get("XLA_FLAGS")) else []


def _about(suite: str, options: Options) -> dict:
    flags = [f"--suite={suite}", f"--rounds={options.rounds}"]
    flags += [f"--against={options.against}"] if options.against else []
    return {
        "date": datetime.date.today().isoformat(),
        "command": " ".join([*_emulation(), "./launch.sh benchmark", *flags]),
        "rounds": options.rounds,
        "machine": describe(),
    }
