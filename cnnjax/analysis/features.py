"""What the layers of a net compute, by name."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import linen as nn

from cnnjax.errors import UserError, near_matches
from cnnjax.net.forward import forward_eval
from cnnjax.net.observe import Call, observe
from cnnjax.net.stacked import unscan


def features(
    model: nn.Module,
    variables: Any,
    images: jax.Array,
    names: Sequence[str] | None = None,
) -> dict[str, jax.Array]:
    """Outputs of modules in an evaluation; a pure function of its arrays.

    Args:
      model: a net of `create_model`; blocks run one by one, even if it scans them.
      variables: {'params': ..., other collections}.
      images: float [N, H, W, C].
      names: paths such as 'stage1_block2' or 'stage1_block2/conv1'; None for the
        direct children of the net.

    Returns:
      name -> output, in the order of execution (jit sorts by name); of a module that
      is called more than once, the last output.

    Raises:
      UserError: no module of that name is called.
    """
    model, variables = unscan(model, variables, images.shape[1:])
    seen: dict[str, jax.Array] = {}

    def record(call: Call):
        output = call.run()
        seen.pop(call.path, None)
        seen[call.path] = output
        return output

    with observe(record):
        state = {c: tree for c, tree in variables.items() if c != "params"}
        forward_eval(model, variables["params"], state, images)
    if names is None:
        return {path: y for path, y in seen.items() if path and "/" not in path}
    for name in names:
        if name not in seen:
            close = near_matches(name, seen)
            hint = f": did you mean {' or '.join(close)}?" if close else ""
            raise UserError(
                f"the net calls no module {name!r}{hint} (./launch.sh profile lists "
                "them)"
            )
    return {path: y for path, y in seen.items() if path in names}
