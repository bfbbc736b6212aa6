"""Runs suites, stores their rows, and compares them with committed rows."""

import dataclasses
import datetime
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.nets import NETS
from benchmarks.rows import (
    Row,
    merged,
    regressions,
    summary,
    to_json,
    to_markdown,
)
from benchmarks.suites import verdict
from cnnjax.ablation.report.replacing import alone, replace_block
from cnnjax.errors import UserError, unknown_name
from cnnjax.records import read_json, write_json, write_text
from cnnjax.run.provenance import git_commit

# Add a suite: its file, with a function `suite(options)`, and its name here.
SUITES = (
    *("train", "inference", "compile", "seeds", "data", "photographs", "startup"),
    *("convolution", "views"),
)
# Not part of 'all': they need an accelerator, several devices, or a package index and
# a quarter of an hour.
ON_DEVICES = ("accelerator", "scaling", "verdict")
PEERS = ("torch",)


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a suite.

    Args:
      rounds: measured rounds.
      only: part of the names of cases; '' for all.
      against: peer to compare with, or ''.
      dry_run: whether tiny nets are measured, to see whether all runs.
    """

    rounds: int
    only: str
    against: str
    dry_run: bool = False


def run_suites(
    name: str,
    *,
    against: str,
    rounds: int,
    only: str,
    out: Path,
    repository: Path,
    publish: bool,
    dry_run: bool = False,
) -> None:
    """Measures, prints and stores; warns about ratios that became worse.

    Rows are stored as they come: what is cut off keeps what it has.

    Args:
      name: of a suite, or 'all'.
      against: '' or 'torch'.
      rounds: measured rounds.
      only: part of the names of cases; '' for all.
      out: folder of `<suite>.json` and `<suite>.md`.
      repository: contains docs/benchmarks.md and docs/benchmarks/*.json.
      publish: whether to write these.
      dry_run: whether tiny nets are measured; for suite accelerator.

    Raises:
      UserError: there is no such suite or peer, or a part of a suite would be published
        beside rows of another machine.
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
    if dry_run and (publish or name != "accelerator"):
        raise UserError(
            "--dry_run measures nothing that could be published: give it with "
            "--suite=accelerator and without --publish"
        )
    options = Options(rounds, only, against, dry_run)
    for suite in SUITES if name == "all" else (name,):
        rows = []
        for row in importlib.import_module(f"benchmarks.suites.{suite}").suite(options):
            rows.append(row)
            # Asking for the devices here would take them from who measures.
            about = _about(suite, options, describe(with_devices=False))
            partial = to_json(suite, rows, about | definition(rows))
            write_json(out / f"{suite}.json", partial)
        about = _about(suite, options, describe())
        stored = to_json(suite, rows, about | definition(rows))
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
                if only and committed.is_file():
                    stored = merged(stored, read_json(committed))
                write_json(committed, stored)
                page = repository / "docs" / "benchmarks.md"
                replace_block(page, suite, to_markdown(stored))
                if suite == "train":
                    replace_block(repository / "README.md", "speed", summary(stored))
                if suite == "verdict":
                    replace_block(
                        repository / "README.md", suite, verdict.summary(stored)
                    )


def definition(rows: Sequence[Row]) -> dict:
    """The commit that is measured, and what each case stands for in it."""
    cases = {row.case for row in rows}
    nets = {case: dataclasses.asdict(net) for case, net in NETS.items()}
    return {
        "commit": git_commit(),
        "nets": {case: net for case, net in nets.items() if case in cases},
    }


def _emulation() -> list[str]:
    """The setting that emulates devices, to precede the command."""
    return [f"XLA_FLAGS={given}"] if (given := os.environ.get("XLA_FLAGS")) else []


def _about(suite: str, options: Options, machine: dict) -> dict:
    flags = [f"--suite={suite}", f"--rounds={options.rounds}"]
    flags += [f"--against={options.against}"] if options.against else []
    flags += ["--dry_run"] if options.dry_run else []
    return {
        "date": datetime.date.today().isoformat(),
        "command": " ".join([*_emulation(), "./launch.sh benchmark", *flags]),
        "rounds": options.rounds,
        "machine": machine,
    }
