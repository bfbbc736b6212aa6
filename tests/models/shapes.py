"""Shapes inside a net, without computing anything."""

from flax import linen as nn

from cnnjax.models.registry import create_model
from cnnjax.net.initialize import abstract_variables


def output_shapes(name, side, **arguments):
    """Path -> (height, width, channels) of every module's output, and the variables.

    In the order in which the modules finish, auxiliary heads included.
    """
    shapes = {}

    def note(call, args, kwargs, context):
        y = call(*args, **kwargs)
        if context.method_name == "__call__":
            shapes["/".join(context.module.path)] = y.shape[1:]
        return y

    model = create_model(name, **arguments)
    with nn.intercept_methods(note):
        declared = abstract_variables(model, (side, side, 3))
    return shapes, declared
