"""The one rule for names that become folders, files, columns and headings."""

import re

from cnnjax.errors import UserError, shown

MOST_CHARACTERS = 100
# Unicode letters and digits, and what labels of axes use; it starts with one that no
# shell and no path reads as something else.
_ALLOWED = re.compile(r"[^\W_][\w.+=,@%-]*")
# Files that a work folder has beside the folders of its arms.
RESERVED = frozenset({"plan", "report", "results", "plots", "launcher", "seed"})


def check_name(what: str, name: object, where: str) -> str:
    """Refuses what could be a path, markup, or a file that a work folder has.

    Args:
      what: the kind of name, such as 'arm'.
      name: may be anything.
      where: where to change it, such as a definition or 'plan.json'.

    Returns:
      The name.

    Raises:
      UserError: says what is allowed.
    """
    if not isinstance(name, str) or not name:
        raise UserError(f"{where}: {what} {shown(name)} must be a text, not empty")
    if len(name) > MOST_CHARACTERS or not _ALLOWED.fullmatch(name):
        raise UserError(
            f"{where}: {what} {shown(name)} must have at most {MOST_CHARACTERS} "
            "letters, digits and characters of '_.+=,@%-', and start with a letter or "
            "a digit"
        )
    stem = name.split(".", 1)[0]
    if stem in RESERVED or (stem.startswith("seed-") and what == "arm"):
        raise UserError(
            f"{where}: {what} {shown(name)} is a name that a work folder has already; "
            "choose another"
        )
    return name
