"""How a profile is printed."""

import json
import textwrap
from typing import Any

from cnnjax.analysis.formats import Column, as_csv, as_markdown, as_text, thousands
from cnnjax.analysis.profile import STORED, Layer, Profile

KILO, MEGA, KIBI = 1e3, 1e6, 1024
NOTES = {
    "multiply_adds": "products of convolutions and dense layers; one multiply-add "
    "counts once, padded positions included",
    "activation_bytes": "outputs of convolutions, pools and dense layers, in float32, "
    "for one image; a flattened map is a view, and norms, activations and additions "
    "are taken to work in place",
    "pool_operations": "values that pooling windows look at, beside the multiply-adds",
    "receptive_field": "pixels of the image, the padding around it included, that one "
    "output value depends on",
}


def _size(pair: tuple[int, int]) -> str:
    return f"{pair[0]} x {pair[1]}" if pair[0] != pair[1] else f"{pair[0]}"


COLUMNS = (
    Column("layer", lambda r: r.name, left=True),
    Column("kind", lambda r: r.kind, left=True),
    Column("out C", lambda r: r.channels),
    Column("out H/W", lambda r: r.size and _size(r.size)),
    Column("memory KB", lambda r: _kept(r) / KIBI, thousands),
    Column("params k", lambda r: r.params / KILO, thousands),
    Column("mult-adds M", lambda r: r.multiply_adds / MEGA, thousands),
    Column("pool ops M", lambda r: r.pool_operations / MEGA, thousands),
    Column("field px", lambda r: r.receptive_field and _size(r.receptive_field)),
)


def _kept(row: Layer) -> int:
    return row.activation_bytes if row.kind in (*STORED, "flatten") else 0


def render_profile(profile: Profile, form: str) -> str:
    """The table of a net.

    Args:
      profile: of `profile_model`.
      form: one of `formats.FORMATS`.
    """
    if form == "json":
        return json.dumps(as_record(profile), indent=2)
    if form == "csv":
        return as_csv(COLUMNS, profile.layers)
    table = as_text if form == "text" else as_markdown
    height, width, channels = profile.input_shape
    title = f"{profile.name}, input {height} x {width} x {channels}, one image"
    parts = [title, table(COLUMNS, profile.layers), table(_SHARES, _shares(profile))]
    legend = _legend() | ({"groups": profile.groups} if profile.groups else {})
    notes = [f"{name}: {text}." for name, text in legend.items()]
    parts.append(
        "\n".join(textwrap.fill(n, 100, subsequent_indent="  ") for n in notes)
    )
    return "\n\n".join(parts)


def _legend() -> dict[str, str]:
    return {
        "memory": f"{NOTES['activation_bytes']}; 1 KB = 1024 bytes",
        "mult-adds": NOTES["multiply_adds"],
        "auxiliary": "heads that only training runs: their parameters count, their "
        "multiply-adds do not",
        "pool ops": NOTES["pool_operations"],
        "field": NOTES["receptive_field"],
    }


def as_record(profile: Profile) -> dict[str, Any]:
    """One object with `layers` and `totals`, in plain units: values, bytes, pixels."""
    return {
        "model": profile.name,
        "input_shape": list(profile.input_shape),
        "layers": [_layer_record(layer) for layer in profile.layers],
        "totals": profile.totals(),
        "by_kind": profile.by_kind(),
        "notes": NOTES | ({"groups": profile.groups} if profile.groups else {}),
    }


def _layer_record(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "output": list(layer.output),
        "params": layer.params,
        "multiply_adds": layer.multiply_adds,
        "pool_operations": layer.pool_operations,
        "activation_bytes": _kept(layer),
        "receptive_field": layer.receptive_field and list(layer.receptive_field),
        "in_evaluation": layer.in_evaluation,
    }


def _shares(profile: Profile) -> list[dict[str, Any]]:
    """A row for each kind of layer and one for all, with the share of each sum."""
    totals = profile.totals()
    rows = []
    for kind, sums in {**profile.by_kind(), "total": totals}.items():
        count = sum(layer.kind == kind for layer in profile.layers)
        rows.append(
            {
                "kind": kind,
                "layers": len(profile.layers) if kind == "total" else count,
                **{key: (value, totals[key]) for key, value in sums.items()},
            }
        )
    return rows


def _share(unit: float):
    def text(pair: tuple[int, int]) -> str:
        value, total = pair
        percent = f"{100 * value / total:.0f}%" if total else ""
        return f"{thousands(value / unit)} {percent:>4}"

    return text


_SHARES = (
    Column("kind", lambda r: r["kind"], left=True),
    Column("layers", lambda r: r["layers"]),
    Column("memory KB", lambda r: r["activation_bytes"], _share(KIBI)),
    Column("params k", lambda r: r["params"], _share(KILO)),
    Column("mult-adds M", lambda r: r["multiply_adds"], _share(MEGA)),
)
