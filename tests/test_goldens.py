"""Recipes, networks and ablations are what they were; a change is a diff to review."""

from pathlib import Path

import pytest

from cnnjax.ablation.plan import ablation_names
from cnnjax.models.registry import list_models
from tests.golden import texts
from tests.models.entries import FEW

FOLDER = Path(__file__).parent / "golden"
CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = sorted(
    path.stem
    for path in CONFIGS.glob("*.py")
    if path.stem not in ("__init__", "base", "generic")
)
KINDS = {
    "recipes": (texts.recipe_text, ".json", RECIPES),
    "ablations": (texts.ablation_text, ".json", ablation_names()),
    "networks": (texts.network_text, ".txt", list_models()),
}
CASES = [
    pytest.param(
        kind,
        name,
        id=f"{kind}-{name}",
        marks=[pytest.mark.slow] if kind == "networks" and name not in FEW else [],
    )
    for kind, (_, _, names) in KINDS.items()
    for name in names
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_golden(kind, name, request):
    make, suffix, _ = KINDS[kind]
    path = FOLDER / kind / f"{name}{suffix}"
    text = make(name)
    if request.config.getoption("--rewrite-goldens"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.is_file(), (
        f"there is no golden {path.relative_to(FOLDER)}: for a new entry write it with "
        "./launch.sh test tests/test_goldens.py --rewrite-goldens (-m '' for all)"
    )
    assert text == path.read_text(), (
        f"{path.relative_to(FOLDER)} has changed: results of earlier versions "
        "cannot be repeated. If the change is meant, write the goldens anew with "
        "./launch.sh test tests/test_goldens.py --rewrite-goldens, review them as a "
        "diff and say in CHANGELOG.md what changed; a move or a new name is no reason"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_golden_of_what_is_gone(kind):
    _, suffix, names = KINDS[kind]
    assert {path.name for path in (FOLDER / kind).iterdir()} == {
        f"{name}{suffix}" for name in names
    }
