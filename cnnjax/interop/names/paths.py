"""Reading the paths of our modules, from which the names of a source are built."""

import re


def matched(pattern: str, path: str) -> tuple[str, ...]:
    """The groups of a pattern in the whole path of a module.

    Raises:
      ValueError: the path does not match: the family has a module without a name.
    """
    match = re.fullmatch(pattern, path)
    if match is None:
        raise ValueError(f"no name for module {path!r}: it does not match {pattern!r}")
    return match.groups()


def within_block(path: str) -> tuple[int, int, str]:
    """'stage1_block2/expand/conv' -> (1, 2, 'expand/conv')."""
    stage, block, inner = matched(r"stage(\d+)_block(\d+)/(.*)", path)
    return int(stage), int(block), inner
