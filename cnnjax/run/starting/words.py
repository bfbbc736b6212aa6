"""What a run says of its start before it trains."""

from typing import Any

from flax import traverse_util

from cnnjax.layers.init import Declared


def start_lines(run: Any) -> list[str]:
    """Sentences on what is taken, what trains and what stays.

    Args:
      run: of `set_up`.
    """
    lines = []
    if run.began:
        lines = [*run.began.origin.notes, run.began.words()]
    if run.trainable or run.stays:
        lines.append(_trains(run))
    return lines


def _trains(run: Any) -> str:
    flat = traverse_util.flatten_dict(
        run.declared["params"],
        sep="/",
        is_leaf=lambda _, leaf: isinstance(leaf, Declared),
    )
    sizes = {path: leaf.value.size for path, leaf in flat.items()}
    paths = run.trainable.paths if run.trainable else sizes.keys()
    words = (
        f"{sum(sizes[path] for path in paths):,} of {sum(sizes.values()):,} parameters "
        "train"
    )
    groups = run.trainable.groups if run.trainable else ()
    if len(groups) > 1:
        steps = ", ".join(f"{group.first_step:,}" for group in groups)
        words += f", in {len(groups)} groups from steps {steps} on"
    if run.stays:
        words += f"; the statistics of {len(run.stays)} batch norms stay"
    if run.featured:
        words += "; the features of the head are computed once"
    return words
