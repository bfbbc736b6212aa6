"""A definition as `plan.json` keeps it, and back.

The stored form is older than the classes, and stays, so that reports of any version can
be read:

  scales: the first grid is `axes`, the others are `also`; `seeds` is `num_seeds`;
    `claims` is left out where it is empty.
  published: one row per arm, with data and protocol. Earlier rows have neither but a
    free `note`, which is read as the protocol; such numbers are shown, never quoted.
  claims: as in `Claim`, with the numbers already quoted in `published`.

Fields that earlier versions did not have are left out at their defaults, which mean
what was done then.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cnnjax.ablation.define.axes import SEEDS_KEY, Axis, Gate, Scale
from cnnjax.ablation.define.claim import Claim
from cnnjax.ablation.define.papers import NOT_RECORDED, Published
from cnnjax.ablation.define.spec import Ablation
from cnnjax.errors import UserError
from cnnjax.names import check_name
from cnnjax.schema import text_again

# Later than the form above, which lacks them where they say what was done before.
_LATER = {
    Claim: ("matters", "because", "headline", "test", "failures"),
    Scale: ("gate",),
    Ablation: ("failed_above", "failure_test"),
}
_UNFIT = (UserError, AttributeError, KeyError, TypeError, ValueError)


def spec_to_dict(ablation: Ablation, scale: str) -> dict[str, Any]:
    """The definition and the chosen scale as plain dicts, for `plan.json`."""
    ablation.scale(scale)
    fields = _fields(ablation)
    fields["claims"] = [
        _fields(claim) | {"published": ablation.evidence(claim)}
        for claim in ablation.claims
    ]
    fields["published"] = [
        dataclasses.asdict(number) for number in ablation.published_numbers
    ]
    fields["scales"] = {k: _scale_to_dict(v) for k, v in ablation.scales.items()}
    return {"ablation": to_plain(fields), "scale": scale}


def spec_from_dict(data: Mapping[str, Any]) -> tuple[Ablation, str]:
    """Inverse of `spec_to_dict`, from JSON; sequences come back as lists.

    Anyone may have written it: all that a definition is checked for is checked again.

    Returns:
      The ablation and the name of the scale.

    Raises:
      UserError: it was written by a later version, or is no definition.
    """
    try:
        fields = _with_texts(dict(data["ablation"]))
        fields["axes"] = [_axis(axis) for axis in fields["axes"]]
        fields["claims"] = [_claim(claim) for claim in fields["claims"]]
        fields["published"] = [_published(row) for row in fields["published"]]
        fields["scales"] = {k: _scale(v) for k, v in fields["scales"].items()}
        ablation = Ablation(**fields)
        scale = check_name("scale", text_again(data["scale"]), "plan.json")
        ablation.scale(scale)
        return ablation, scale
    except (*_UNFIT, RecursionError) as error:
        raise UserError(
            f"the spec in plan.json cannot be read ({error}): plan the ablation again "
            "into a new --workdir, or report it with the version that wrote it"
        ) from error


def to_plain(value: Any) -> Any:
    """A value for JSON: config sections, which may be overrides, become dicts."""
    if isinstance(value, ConfigDict):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: to_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(inner) for inner in value]
    return value


def _with_texts(stored: Any) -> Any:
    """Names such as "NaN" are texts again; only values of config keys are numbers."""
    if isinstance(stored, list):
        return [_with_texts(item) for item in stored]
    if not isinstance(stored, Mapping):
        return text_again(stored)
    return {
        key: inner
        if key in ("overrides", "values") and isinstance(inner, Mapping)
        else _with_texts(inner)
        for key, inner in stored.items()
    }


def _fields(part: Ablation | Claim | Scale) -> dict[str, Any]:
    usual = {field.name: field.default for field in dataclasses.fields(part)}
    left_out = {
        name for name in _LATER[type(part)] if getattr(part, name) == usual[name]
    }
    fields = dataclasses.asdict(part)
    return {name: value for name, value in fields.items() if name not in left_out}


def _scale_to_dict(scale: Scale) -> dict[str, Any]:
    fields = _fields(scale)
    first, *others = fields.pop("grids")
    if not scale.claims:  # as before there was this field
        del fields["claims"]
    return fields | {"axes": first, "also": others, "num_seeds": fields.pop("seeds")}


def _scale(stored: Mapping[str, Any]) -> Scale:
    fields = dict(stored)
    grids = [fields.pop("axes"), *fields.pop("also")]
    seeds = fields.pop("num_seeds")
    fields["overrides"] = _without_seeds(fields["overrides"])
    if gate := fields.get("gate"):
        fields["gate"] = Gate(**gate)
    return Scale(grids=grids, seeds=seeds, **fields)


def _axis(stored: Mapping[str, Any]) -> Axis:
    values = {label: _without_seeds(v) for label, v in stored["values"].items()}
    return Axis(**{**stored, "values": values})


def _without_seeds(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Earlier versions took a number of seeds there, which had no effect."""
    return {key: value for key, value in overrides.items() if key != SEEDS_KEY}


def _claim(row: Mapping[str, Any]) -> Claim:
    """Earlier versions took a claim without a source."""
    return Claim(**{**row, "source": row["source"] or NOT_RECORDED})


def _published(row: Mapping[str, Any]) -> Published:
    """A row as a table of one number."""
    fields = dict(row)
    earlier = {"data": NOT_RECORDED, "protocol": fields.pop("note", "")}
    values = {fields.pop("arm"): fields.pop("value")}
    fields["source"] = fields["source"] or NOT_RECORDED
    return Published(values=values, **(earlier | fields))
