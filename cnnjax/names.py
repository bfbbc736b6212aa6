"""The one rule for names that become folders, files, columns and headings.

It holds where a definition is made and where a record is read, which anyone may have
written: no name is a path, markup, a formula, or a file that is there already.
"""

import re
import unicodedata
from collections.abc import Iterable

from cnnjax.errors import UserError, shown

MOST_CHARACTERS = 100
# File systems take 255; an ending and the mark of a temporary file are added.
MOST_BYTES = 200
# Beside letters, digits and the marks on letters, of any script.
PUNCTUATION = " _.+=,@%()×-"
# What has a meaning of its own where names of a kind stand.
_TAKEN = {
    "ablation": re.compile(r"train|atlas-.*"),  # folders in runs/
    "arm": re.compile(  # what a work folder has beside its arms
        r"(plan|report|results|records|plots|launcher|lock|seed)(\..*)?|seed-.*"
        r"|.*\.(json|jsonl|html|md|csv|txt|lock|safetensors)"
    ),
    "axis": re.compile(r"arm|fold|seed|status|reason"),  # columns of results.csv
    "probe": re.compile(r"error|effects|curves|thumbnail"),  # figures of every report
}


def check_name(kind: str, name: object, where: str) -> str:
    """Refuses what could be a path, markup, or a file that a work folder has.

    A label is a part of names of arms, so it may be empty and start as it likes.

    Args:
      kind: 'ablation', 'scale', 'axis', 'label', 'arm', 'probe' or 'metric'.
      name: may be anything.
      where: where to change it, such as a definition or 'plan.json'.

    Returns:
      The name.

    Raises:
      UserError: says what is allowed.
    """
    given = f"{where}: {kind} {shown(name)}"
    if not isinstance(name, str) or not (name or kind == "label"):
        raise UserError(f"{given} must be a text that is not empty")
    if len(name) > MOST_CHARACTERS or len(name.encode("utf-8", "replace")) > MOST_BYTES:
        raise UserError(
            f"{given} has {len(name)} characters, and at most {MOST_CHARACTERS} (or "
            f"{MOST_BYTES} bytes) make a name: choose a shorter one"
        )
    wrong = next((c for c in name if not _is_allowed(c)), None)
    if wrong is not None:
        raise UserError(
            f"{given} has the character {shown(wrong)}, but names of files are made "
            f"of it: take letters, digits and characters of '{PUNCTUATION}'"
        )
    # Labels stand within names of arms, at any place.
    if kind != "label" and not (name[0].isalnum() and name[-1] not in " ."):
        raise UserError(
            f"{given} must start with a letter or a digit, and not end in a space or a "
            "dot, for names of files are made of it"
        )
    if (taken := _TAKEN.get(kind)) and taken.fullmatch(name.casefold()):
        raise UserError(f"{given} means something else already: choose another name")
    return name


def check_names(kind: str, names: Iterable[object], where: str) -> None:
    """Checks each of some names, and that no two of them are one file on any machine.

    Some file systems know no case, and some decompose letters with accents.

    Raises:
      UserError: as of `check_name`, or names the two.
    """
    seen: dict[str, str] = {}
    for name in names:
        checked = check_name(kind, name, where)
        same = unicodedata.normalize("NFC", checked).casefold()
        if seen.setdefault(same, checked) != checked:
            raise UserError(
                f"{where}: {kind} {shown(seen[same])} and {kind} {shown(checked)} are "
                "one name where file systems know no case: choose another for one"
            )


def _is_allowed(character: str) -> bool:
    return character in PUNCTUATION or unicodedata.category(character)[0] in "LMN"
