"""The registry as a table."""

import json

from cnnjax.analysis.formats import Column, as_csv, as_markdown, as_text
from cnnjax.errors import UserError, near_matches
from cnnjax.models.registry import ALIASES, VARIANTS, list_models, variant

_COUNT = "{:,}".format


def _entry(name: str):
    return variant(name)


COLUMNS = (
    Column("model", str, left=True),
    Column("parameters", lambda n: _entry(n).num_params, _COUNT),
    Column("multiply-adds", lambda n: _entry(n).multiply_adds, _COUNT),
    Column("input", lambda n: "x".join(map(str, _entry(n).input_shape))),
    Column("norm", lambda n: _entry(n).norm["kind"], left=True),
    Column("also called", lambda n: ", ".join(_entry(n).aliases), left=True),
    Column("source of the counts", lambda n: _entry(n).source, left=True),
)


def find_models(patterns: str) -> list[str]:
    """Entries that match any of some shell patterns, separated by commas.

    Raises:
      UserError: a pattern matches nothing.
    """
    found: dict[str, None] = {}
    for pattern in patterns.split(","):
        names = list_models(pattern.strip())
        if not names:
            close = near_matches(pattern.strip("* "), [*VARIANTS, *ALIASES])
            hint = f": did you mean {' or '.join(close)}?" if close else ""
            raise UserError(
                f"no model matches {pattern.strip()!r}{hint} (./launch.sh models lists "
                "all of them)"
            )
        found.update(dict.fromkeys(names))
    return list(found)


def render_listing(names: list[str], form: str) -> str:
    """The table of some entries in one of `formats.FORMATS`."""
    if form == "json":
        return json.dumps({"models": [_record(name) for name in names]}, indent=2)
    if form == "csv":
        return as_csv(COLUMNS, names)
    if form == "md":
        return as_markdown(COLUMNS, names)
    return as_text(COLUMNS, names) + f"\n\n{len(names)} model{'s' * (len(names) > 1)}"


def _record(name: str) -> dict:
    entry = variant(name)
    published = entry.published
    return {
        "name": name,
        "aliases": list(entry.aliases),
        "params": entry.num_params,
        "multiply_adds": entry.multiply_adds,
        "input_shape": list(entry.input_shape),
        "num_classes": entry.num_classes,
        "norm": entry.norm,
        "act": entry.act,
        "arguments": entry.defaults(),
        "source": entry.source,
        "published": published
        and {
            "error": published.error,
            "top5_error": published.top5_error,
            "data": published.data,
            "source": published.source,
        },
    }
