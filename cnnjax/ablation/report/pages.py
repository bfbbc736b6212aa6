"""Writes the report of an ablation from its files alone, finished or not."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.judge.collect import Sweep, collect, write_csv
from cnnjax.ablation.judge.verdict import (
    CONTRADICTED,
    NO_DIFFERENCE,
    NO_INFORMATION,
    SUPPORTED,
    UNDECIDED,
    slug,
)
from cnnjax.ablation.judge.verdicts import RULE, judge, rule
from cnnjax.ablation.report import answer, tables
from cnnjax.ablation.report.plots.figures import inline_svg, save_groups
from cnnjax.ablation.report.plots.groups import answer_group, build_groups
from cnnjax.ablation.report.replacing import claim_report
from cnnjax.ablation.report.verdict_colours import COLOURS
from cnnjax.errors import UserError
from cnnjax.records import write_text
from cnnjax.texts import markdown, one_line

TEMPLATES = Path(__file__).parents[1] / "templates"
OTHER_SETTING = "published, other data or budget"
SAME_SETTING = "published"
CHOICE = (
    "Errors are those of the last step, except the test error at the best validation "
    "error, which belongs to the weights with the lowest validation error. Nothing is "
    "selected on the test set."
)
MARKS = {
    SUPPORTED: "✓",
    CONTRADICTED: "✗",
    NO_DIFFERENCE: "=",
    UNDECIDED: "?",
    NO_INFORMATION: "∅",
}


def write_report(workdir: str | Path) -> list[Path]:
    """Writes results.csv, plots, report.md and report.html into the folder.

    Args:
      workdir: folder of an ablation, with `plan.json` and any number of finished runs.

    Returns:
      The paths written, the page first.

    Raises:
      UserError: there is no plan, or the folder cannot be written.
    """
    workdir = Path(workdir)
    sweep = collect(workdir)
    try:
        return _write(sweep, workdir)
    except OSError as error:
        raise UserError(
            f"the report cannot be written into {workdir} ({error.strerror}): free "
            "space or change the permissions, then run report again"
        ) from error


def _write(sweep: Sweep, workdir: Path) -> list[Path]:
    context = make_context(sweep) | {"looks": looks(sweep, workdir)}
    claim_report(workdir)
    plots = workdir / "plots"
    plots.mkdir(exist_ok=True)
    first = [context["picture"]] if context["picture"] else []
    groups, pictures = save_groups([*first, *context["groups"]], plots)
    if first:
        context["picture"] = groups[0]
    context["groups"] = groups[len(first) :]
    table = workdir / "results.csv"
    write_csv(sweep, table)
    page, text = workdir / "report.html", workdir / "report.md"
    write_text(text, render("report.md.j2", context, autoescape=False))
    write_text(page, render("report.html.j2", context, autoescape=True))
    return [page, text, table, *pictures]


def looks(sweep: Sweep, workdir: Path) -> dict[str, str]:
    """Cell -> the page of its views, where `report --views` drew one."""
    cells = [cell["name"] for arm in sweep.plan["arms"] for cell in arm["cells"]]
    pages = {cell: f"{cell}/look/look.html" for cell in cells}
    return {cell: page for cell, page in pages.items() if (workdir / page).is_file()}


def make_context(sweep: Sweep) -> dict[str, Any]:
    """The variables of the templates; `looks`, pages of views, is empty."""
    verdicts = judge(sweep)
    scale = sweep.ablation.scale(sweep.scale_name)
    posed = sweep.ablation.posed(sweep.scale_name)
    costs = tables.cost_lines(sweep)
    metrics = tables.measured_metrics(sweep)
    published = tables.published_metrics(sweep)
    headline = answer.headline(verdicts)
    return {
        "headline": headline,
        "answer": answer.answer(headline) if headline else "",
        "picture": answer_group(sweep, headline),
        "verdicts": verdicts,
        "not_posed": [c for c in sweep.ablation.claims if c not in posed],
        "rule": rule(sweep),
        "runs_per_arm": tables.runs_per_arm(sweep),
        "guess": tables.guess_words(sweep),
        "seeds": sorted({row.seed for row in sweep.rows}),
        "groups": build_groups(sweep, verdicts),
        "looks": {},
        "ablation": sweep.ablation,
        "scale_name": sweep.scale_name,
        "scale": scale,
        "recipe": _recipe(scale.recipe),
        "plan": sweep.plan,
        "budget": _budget(sweep.plan),
        "rows": sweep.rows,
        "num_done": sum(row.status == "done" for row in sweep.rows),
        "warnings": sweep.warnings,
        "verified": sweep.verified_words,
        "troubles": tables.troubles(sweep),
        "metrics": metrics,
        "metric_tables": tables.parts_of(metrics, published),
        "published_metrics": published,
        "published_label": SAME_SETTING if scale.as_published else OTHER_SETTING,
        "lines": tables.arm_lines(sweep),
        "costs": costs,
        "total": tables.total_cost(costs),
        "starts": tables.starts(sweep.plan),
        "provenance": [*tables.taken_runs(sweep), *tables.shared_provenance(sweep)],
    }


def _recipe(name: str) -> str:
    """Names a recipe: ours by its path, any other by its file name alone."""
    path = Path(name)
    return path.name if path.suffix == ".py" else f"configs/{name}.py"


def _budget(plan: Mapping[str, Any]) -> str:
    epochs, steps = (_range(plan["arms"], key) for key in ("epochs", "steps"))
    return f"{epochs} epochs, {steps} steps each"


def _range(arms: list[Mapping[str, Any]], key: str) -> str:
    values = [round(arm[key], 2) for arm in arms]
    low, high = f"{min(values):,.10g}", f"{max(values):,.10g}"
    return low if low == high else f"{low} to {high}"


def render(name: str, context: Mapping[str, Any], autoescape: bool) -> str:
    """Fills a template of `templates/` with a context of `make_context`.

    Returns:
      The text. Whatever the context has of others is on one line and without what is
      hidden; in Markdown, without markup as well.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        finalize=functools.partial(_shown, one_line if autoescape else markdown),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["colours"] = COLOURS
    environment.filters |= {
        "number": tables.number,
        "value": tables.value,
        "known": tables.known,
        "interval": tables.interval,
        "p_value": tables.p_value,
        "count": tables.count,
        "seconds": tables.seconds,
        "slug": slug,
        "minus": answer.minus,
        "flags": answer.flags,
        "effect": answer.effect,
        "effect_interval": answer.interval,
        "sign_of_limit": answer.sign_of_limit,
    }
    environment.globals |= {
        "METRICS": METRICS,
        "MARKS": MARKS,
        "CHOICE": CHOICE,
        "RULE": RULE,
        "tally": lambda verdicts: Counter(v.verdict for v in verdicts),
        "inline_svg": lambda panel, name: Markup(inline_svg(panel, name)),
    }
    return environment.get_template(name).render(context)


def _shown(form: Callable[[object], str], value: object) -> object:
    """A value of a template as text, but for markup of our own."""
    return value if isinstance(value, Markup) else form(value)
