"""Which implementation the layers use: the fastest, XLA's own, or plain operations."""

import contextlib
from collections.abc import Iterator

import jax

from cnnjax.errors import unknown_name

# 'auto': chosen by platform and shape, oneDNN included; 'xla': likewise, without it;
# 'lax': the plain operations of `jax.lax`, which are the reference.
IMPLEMENTATIONS = ("auto", "xla", "lax")

# A context of JAX, so that `jit` keeps programs of different implementations apart.
_chosen = jax.make_user_context("auto")


@contextlib.contextmanager
def implementation(impl: str) -> Iterator[None]:
    """Convolutions, pools and batch norms that are traced within use this one.

    Args:
      impl: one of `IMPLEMENTATIONS`.

    Raises:
      UserError: for another name.
    """
    with _chosen(checked(impl)):
        yield


def chosen(impl: str | None = None) -> str:
    """What a layer should use.

    Args:
      impl: the layer's own choice; None for what `implementation` says.

    Raises:
      UserError: for an unknown name.
    """
    return _chosen.value if impl is None else checked(impl)


def checked(impl: str) -> str:
    """The name, if it is one of `IMPLEMENTATIONS`.

    Raises:
      UserError: if not.
    """
    if impl not in IMPLEMENTATIONS:
        raise unknown_name("implementation", impl, IMPLEMENTATIONS, "config.train.impl")
    return impl
