"""With which definition a published report was made, and what has changed since.

`definition.json` lies beside a published report: the commits of its runs, and what of
the definition decides its numbers and verdicts: the resolved config of every arm, the
seeds, the claims and the rules, such as the gate. Words and published numbers of others
are no part of it. `refresh` compares it
with the definition as it is now and says on the page what differs, so that a definition
can be edited at any time and no page shows numbers that pass for those of another one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cnnjax.ablation.define.spec import Ablation
from cnnjax.ablation.judge.collect import Sweep
from cnnjax.ablation.plan import ablation_names, load_ablation, make_plan
from cnnjax.ablation.report.replacing import alone, replace_block
from cnnjax.config import deciding_keys, to_dict
from cnnjax.errors import UserError, printable
from cnnjax.record_kinds import CONFIG
from cnnjax.records import sift_record, write_json, write_text
from cnnjax.schema import HOLE, Items, Name, Number, Object, Table, Text
from cnnjax.texts import as_block, block, markdown, sentence

FILE = "definition.json"
# The block on the page of a report; that of the list in docs/results/README.md.
BLOCK, LIST = "definition", "definitions"
# In `definition.json`: sentences about what changed the numbers, not the definition.
CHANGED = "numbers_changed"
# In `definition.json`: what decides verdicts besides the claims; absent in files of
# before, when there was none but `diverged_error`, which they did not record.
RULES, UNRECORDED = "rules", ("diverged_error",)
_OF_CLAIMS = ("matters", "headline", "test", "failures")
MOST_NAMED = 4  # arms, or changes, in one sentence
_COMMIT = r"[0-9a-f]{40}([0-9a-f]{24})?(-dirty)?"  # of SHA-1 or SHA-256
_MOST_DEPTH = 8  # of the value of a config key


class _Setting:
    """The value of a config key: anything that is not too deep to be shown."""

    def sift(self, value: Any, at: str, flaws: list[str]) -> Any:
        level = [value]
        for _ in range(_MOST_DEPTH):
            level = [inner for item in level for inner in _within(item)]
            if not level:
                return value
        flaws.append(f"{at} has more than {_MOST_DEPTH} levels")
        return HOLE


def _within(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


_SETTINGS = Table(_Setting())
_CLAIM = Object(
    needs={"metric": Text(), "contrast": Table(Number()), "margin": Number()}
)
# Whoever hands on a report may have written its `definition.json`.
KIND = Object(
    needs={
        "commits": Items(Text(like=_COMMIT)),
        "ablation": Name("ablation"),
        "scale": Name("scale"),
        "seeds": Number(1, whole=True),
        "config": _SETTINGS,
        "arms": Table(_SETTINGS, key=Name("arm")),
        "claims": Table(_CLAIM),
    },
    may={RULES: _SETTINGS, CHANGED: Items(Text())},
)


def described(
    ablation: Ablation, scale: str, configs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What of a definition decides numbers, for `definition.json`.

    Args:
      ablation: the definition.
      scale: name of the scale.
      configs: arm -> its resolved config.
    """
    flat = {arm: deciding_keys(config) for arm, config in configs.items()}
    first = next(iter(flat.values()), {})
    common = {
        key: value
        for key, value in first.items()
        if all(key in own and own[key] == value for own in flat.values())
    }
    return {
        "ablation": ablation.name,
        "scale": scale,
        "seeds": ablation.scale(scale).seeds,
        "config": common,
        "arms": {
            arm: {key: value for key, value in own.items() if key not in common}
            for arm, own in flat.items()
        },
        "claims": {
            claim.name: {
                "metric": claim.metric,
                "contrast": dict(claim.contrast),
                "margin": claim.margin,
            }
            for claim in ablation.posed(scale)
        },
        RULES: _rules(ablation, scale),
    }


def of_runs(sweep: Sweep, workdir: Path) -> dict[str, Any]:
    """The definition that the runs of a work folder were made with, and their commits.

    An arm whose config is missing has no keys, and none is compared later.
    """
    configs = {
        arm["name"]: sift_record(_config_of(arm, workdir), CONFIG)[0] or {}
        for arm in sweep.plan["arms"]
    }
    commits = {of_cell.get("git_commit") for of_cell in sweep.provenance.values()}
    return {
        "commits": sorted(c for c in commits if c and re.fullmatch(_COMMIT, c)),
        **described(sweep.ablation, sweep.scale_name, configs),
    }


def _config_of(arm: Mapping[str, Any], workdir: Path) -> Path:
    return workdir / arm["cells"][0]["name"] / "config.json"


def as_defined(name: str, scale: str) -> dict[str, Any] | None:
    """The same of the definition of `configs/ablations/` as it is now.

    The name may be of a record that anyone has written, so it is never a path.

    Returns:
      None where there is none of that name and scale, or it cannot be read.
    """
    if name not in ablation_names():
        return None
    try:
        ablation = load_ablation(name)
        ablation.scale(scale)
    except UserError:
        return None
    plan = make_plan(
        ablation,
        scale,
        num_seeds=None,
        data_dir="",
        workdir="/no/such/folder",  # where an earlier plan is sought
        changes={},
    )
    configs = {cell.arm.name: to_dict(cell.config) for cell in plan.cells}
    return described(ablation, scale, configs)


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two definitions, a phrase each.

    Args:
      then: of `definition.json`.
      now: of `as_defined`.
    """
    found = []
    if then["seeds"] != now["seeds"]:
        found.append(f"seeds: {then['seeds']} -> {now['seeds']}")
    found += _gone_or_new("arm", then["arms"], now["arms"])
    changed: dict[str, list[str]] = {}
    both = [arm for arm in then["arms"] if arm in now["arms"]]
    for arm in both:
        old = {**then["config"], **then["arms"][arm]}
        new = {**now["config"], **now["arms"][arm]}
        for key in sorted(old.keys() | new.keys()) if old else ():
            a, b = old.get(key, "absent"), new.get(key, "absent")
            if a != b:
                changed.setdefault(f"{key}: {a} -> {b}", []).append(arm)
    for phrase, arms in changed.items():
        which = "" if arms == both else f" ({_several(arms)})"
        found.append(phrase + which)
    found += _other_claims(then["claims"], now["claims"])
    return found + _other_rules(then.get(RULES), now.get(RULES, {}))


def note(then: Mapping[str, Any], now: Mapping[str, Any] | None) -> str:
    """The sentences on the page of a report; what a record says is no markup there.

    Args:
      then: of `definition.json`.
      now: of `as_defined`.
    """
    commits = [commit[:10] for commit in then["commits"]]
    of = f"of commit {' and '.join(commits)}" if commits else "of no known commit"
    text = f"Made with the definition {of}."
    if now is None:
        return f"{text} Today there is no definition of this name and scale."
    if found := _plain(changes(then, now)):
        text += f" The definition has changed since: {_several(found, '; ')}."
    if found := _plain(then.get(CHANGED, ())):
        text += f" Numbers at scale `smoke` have changed since: {'; '.join(found)}."
    return text


def add_note(folder: Path, made_with: Mapping[str, Any]) -> None:
    """Puts the note below the title of a page that has none yet.

    Args:
      folder: of the report.
      made_with: its definition.
    """
    title, rest = (folder / "report.md").read_text("utf-8").split("\n", 1)
    now = as_defined(made_with["ablation"], made_with["scale"])
    text = as_block(BLOCK, note(made_with, now))
    write_text(folder / "report.md", f"{title}\n\n{text}\n{rest}")


def expected_blocks(repository: Path) -> dict[Path, tuple[str, str]]:
    """File -> name and text of its block about definitions, as it must stand there.

    Args:
      repository: contains docs/results/.
    """
    folders = sorted(path.parent for path in _results(repository).glob(f"*/{FILE}"))
    found = {folder: _note_of(folder) for folder in folders}
    notes = {folder: text for folder, (text, _) in found.items()}
    others = {folder: text for folder, (text, same) in found.items() if not same}
    blocks = {folder / "report.md": (BLOCK, text) for folder, text in notes.items()}
    gallery = _results(repository) / "README.md"
    return blocks | {gallery: (LIST, _list(gallery, list(notes), others))}


def refresh(repository: Path) -> list[Path]:
    """Writes the blocks about definitions of all pages anew; trains nothing.

    Returns:
      The files that have changed.

    Raises:
      TakenError: another command publishes.
      UserError: a `definition.json` is not what `publish` writes.
    """
    with alone(repository):
        return [
            path
            for path, (name, text) in expected_blocks(repository).items()
            if path.is_file()
            and block(path.read_text("utf-8"), name) is not None
            and replace_block(path, name, text)
        ]


def state_change(repository: Path, names: Sequence[str], what: str) -> None:
    """Notes beside reports that their numbers are others by now, though defined alike.

    Args:
      repository: contains docs/results/.
      names: of the reports, such as 'degradation-laptop'.
      what: what has changed, and in which commit.

    Raises:
      TakenError: another command publishes.
      UserError: none is named, there is no such report, or its definition is missing
        or not what `publish` writes.
    """
    if not names:
        raise UserError("--numbers_changed needs --reports: name the pages it is for")
    paths = [_results(repository) / name / FILE for name in names]
    with alone(repository):
        for path, then in [(path, _read(path)) for path in paths]:
            known = then.get(CHANGED, [])
            write_json(path, then | {CHANGED: [*known, what]})


def _results(repository: Path) -> Path:
    return repository / "docs" / "results"


def _note_of(folder: Path) -> tuple[str, bool]:
    """The note of a report, and whether today's definition would give its numbers."""
    then = _read(folder / FILE)
    now = as_defined(then["ablation"], then["scale"])
    same = now is not None and not changes(then, now) and not then.get(CHANGED)
    return note(then, now), same


def _read(path: Path) -> dict[str, Any]:
    """A `definition.json`, checked.

    Raises:
      UserError: it is missing, cannot be read, or is not what `publish` writes.
    """
    found, wrong = sift_record(path, KIND)
    if found is None or wrong:
        raise UserError(
            f"{printable(path)} {wrong or 'is missing'}: restore it, publish that "
            "report again, or move its folder away"
        )
    return found


def _plain(phrases: Iterable[str]) -> list[str]:
    """Phrases for Markdown, of texts that anyone may have written."""
    return [markdown(sentence(phrase)) for phrase in phrases]


def _list(page: Path, folders: Sequence[Path], old: Mapping[Path, str]) -> str:
    """How many reports are out of date, and which; and which are not.

    Args:
      page: that has the list.
      folders: of published reports.
      old: folder -> note of those that are not made with today's definition.
    """
    total, root = len(folders), page.parent
    head = f"{total - len(old)} of {total} published reports were made with today's"
    names = {
        folder: f"[{markdown(folder.name)}]({_link(folder, root)})"
        for folder in folders
    }
    today = ", ".join(name for folder, name in names.items() if folder not in old)
    first = f"{head} definitions{': ' if today else ''}{today}."
    if not old:
        return first
    lines = [f"- {names[folder]}: {text}" for folder, text in old.items()]
    return "\n".join([f"{first} The others:", "", *lines])


def _link(folder: Path, root: Path) -> str:
    return quote(f"{folder.relative_to(root).as_posix()}/report.md")


def _other_claims(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Claims are what they state; another name or other words change nothing."""
    old = [name for name in then if then[name] not in now.values()]
    new = [name for name in now if now[name] not in then.values()]
    changed = [f"claim {name!r} is another statement" for name in old if name in new]
    return changed + _gone_or_new(
        "claim",
        [name for name in old if name not in new],
        [name for name in new if name not in old],
    )


def _rules(ablation: Ablation, scale: str) -> dict[str, Any]:
    """What decides verdicts besides the claims; defaults are left out."""
    gate = ablation.scale(scale).gate
    rules: dict[str, Any] = {
        "gate": gate and [gate.metric, gate.at_most, gate.control],
        "failed_above": ablation.failed_above,
        "diverged_error": ablation.diverged_error,
    }
    for field in _OF_CLAIMS:
        own = {claim.name: getattr(claim, field) for claim in ablation.posed(scale)}
        rules[field] = {name: value for name, value in own.items() if value}
    return {rule: value for rule, value in rules.items() if value}


def _other_rules(then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    old = then or {}
    unknown = UNRECORDED if then is None else ()
    differ = [
        rule
        for rule in sorted(old.keys() | now.keys())
        if old.get(rule) != now.get(rule) and rule not in unknown
    ]
    return [f"rules of verdicts ({', '.join(differ)})"] if differ else []


def _gone_or_new(kind: str, then: Iterable[str], now: Iterable[str]) -> list[str]:
    old, new = list(then), list(now)
    gone = [name for name in old if name not in new]
    added = [name for name in new if name not in old]
    found = [f"{kind} gone: {_several(gone)}"] if gone else []
    return found + ([f"{kind} added: {_several(added)}"] if added else [])


def _several(words: Sequence[str], between: str = ", ") -> str:
    more = len(words) - MOST_NAMED
    text = between.join(words[:MOST_NAMED])
    return f"{text} and {more} more" if more > 0 else text
