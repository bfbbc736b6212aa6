"""The report on the terminal: a table of arms and a table of verdicts."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.judge.collect import Sweep, collect
from cnnjax.ablation.judge.stats import Summary
from cnnjax.ablation.judge.verdict import SUPPORTED, Verdict
from cnnjax.ablation.judge.verdicts import judge, rule
from cnnjax.ablation.report import answer, tables
from cnnjax.ablation.report.verdict_colours import COLOURS
from cnnjax.screen import plain, show, terminal


def print_summary(workdir: str | Path, console: Console | None = None) -> None:
    """Prints the results of an ablation so far.

    Args:
      workdir: folder of an ablation.
      console: where to print; the terminal if None.

    Raises:
      UserError: the folder has no plan.
    """
    console = console or terminal()
    sweep = collect(workdir)
    show(_arm_table(sweep), console)
    for trouble in tables.troubles(sweep):
        console.print(
            f"[yellow]{plain(trouble.arm)}[/] {trouble.runs}: {trouble.status}"
            f" ({plain(trouble.reason)})"
        )
    for warning in sweep.warnings:
        console.print(f"[yellow]{plain(warning)}[/]")
    if verdicts := judge(sweep):
        show(_verdict_table(verdicts, rule(sweep)), console)
    elif sweep.ablation.claims:
        console.print(f"scale {plain(sweep.scale_name)} lacks the arms of all claims")


def _arm_table(sweep: Sweep) -> Table:
    metrics = tables.measured_metrics(sweep)[:2]
    table = Table(
        title=f"{plain(sweep.ablation.title)}, scale {plain(sweep.scale_name)}",
        caption="mean ± half width of the 95% t interval over runs",
    )
    table.add_column("arm", no_wrap=True)
    table.add_column("runs", justify="right")
    for metric in metrics:
        about = METRICS[metric]
        unit = f" ({about.unit})" if about.unit else ""
        table.add_column(about.title + unit, justify="right")
    table.add_column("parameters", justify="right")
    for line in tables.arm_lines(sweep):
        table.add_row(
            plain(line.arm),
            f"{line.num_done}/{line.num_planned}",
            *(_unbroken(line.summaries[metric], metric) for metric in metrics),
            tables.count(line.num_params),
        )
    return table


def _unbroken(summary: Summary, metric: str) -> str:
    """Mean and interval on one line, below a title that may be wrapped."""
    return tables.interval(summary, metric).replace(" ", "\N{NO-BREAK SPACE}")


def _verdict_table(verdicts: list[Verdict], rule: str) -> Table:
    table = Table(
        title="Claims",
        caption=f"effect with 95% interval; {rule}",
    )
    table.add_column("claim")
    table.add_column("verdict", no_wrap=True)
    table.add_column("effect", justify="right")
    table.add_column("p", justify="right", no_wrap=True)
    for verdict in verdicts:
        style = COLOURS[verdict.verdict].terminal
        effect = answer.effect(verdict)
        if verdict.shown is not None:
            effect += f"\n[dim]{answer.interval(verdict)}[/]"
        why = (
            "" if verdict.verdict == SUPPORTED else f"\n[dim]{plain(verdict.reason)}[/]"
        )
        caveat = f"\n[yellow]{plain(verdict.caveat)}[/]" if verdict.caveat else ""
        table.add_row(
            plain(verdict.claim.text) + why + caveat,
            f"[{style}]{verdict.verdict}[/]",
            effect,
            tables.p_value(verdict.p_holm),
        )
    return table
