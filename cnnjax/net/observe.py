"""The one way to look into a net while it runs: its modules, one call after another."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from flax import linen as nn


class Call(NamedTuple):
    """One call of a module.

    Attributes:
      module: that is called.
      function: its `__call__`.
      args: what it is given.
      kwargs: what it is given by name.
    """

    module: nn.Module
    function: Callable
    args: tuple
    kwargs: dict[str, Any]

    @property
    def path(self) -> str:
        """Of the module, such as 'stage1_block2/conv1'; '' for the net."""
        return "/".join(self.module.path)

    def run(self, **changes: Any) -> Any:
        """The output of the module, some arguments given by name changed."""
        return self.function(*self.args, **(self.kwargs | changes))


def observe(around: Callable[[Call], Any]) -> AbstractContextManager:
    """Within it, every call of a module goes through a function.

    Args:
      around: what it returns takes the place of the module's output; `call.run()` gives
        the output itself.
    """

    def intercept(function, args, kwargs, context):
        if context.method_name != "__call__":
            return function(*args, **kwargs)
        return around(Call(context.module, function, args, kwargs))

    return nn.intercept_methods(intercept)
