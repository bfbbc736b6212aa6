"""Suite convolution: each form of one convolution, its output and both gradients.

The choices of `layers/functional/conv.py` on CPU follow from these rows.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from benchmarks.machine import matmul
from benchmarks.measure import interleave
from benchmarks.rows import Row, rows_of
from cnnjax.devices import parallel
from cnnjax.layers.functional.conv import form_on_cpu
from cnnjax.layers.functional.conv_cpu import PLAIN, choose_form
from cnnjax.layers.functional.conv_geometry import Geometry
from cnnjax.layers.functional.conv_onednn import BY_ONEDNN, is_installed
from cnnjax.layers.functional.conv_operation import Form, convolve


@dataclasses.dataclass(frozen=True)
class Case:
    """Images [batch, size, size, channels] under square filters."""

    batch: int
    size: int
    channels: int
    features: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1

    @property
    def name(self) -> str:
        grouped = f", {self.groups} groups" if self.groups > 1 else ""
        return (
            f"{self.kernel}x{self.kernel}/{self.stride}, {self.channels} to "
            f"{self.features}{grouped}, {self.size} px, batch {self.batch}"
        )

    @property
    def geometry(self) -> Geometry:
        pad = (self.kernel // 2, self.kernel // 2)
        return Geometry((self.stride,) * 2, (pad, pad), (1, 1), self.groups)


CASES = (
    Case(128, 32, 16, 16),
    Case(128, 8, 64, 64),
    Case(128, 32, 16, 32, stride=2),
    Case(16, 56, 64, 64),
    Case(16, 14, 256, 256),
    Case(16, 224, 3, 64, kernel=7, stride=2),
    Case(16, 48, 32, 64, kernel=1),
    Case(16, 6, 512, 512, kernel=1),
    Case(16, 48, 32, 32, groups=32),
    Case(16, 12, 512, 512, groups=512),
    Case(16, 14, 128, 128, groups=32),
    Case(128, 2, 512, 512),
    Case(64, 8, 8, 8),
    Case(64, 4, 16, 16),
    Case(64, 2, 32, 32),
)


def suite(options) -> list[Row]:
    """Rows for every case whose name contains `options.only`."""
    return [
        row
        for case in CASES
        if options.only in case.name
        for row in rows(case, options)
    ]


def rows(case: Case, options) -> list[Row]:
    """The plain convolution, the form built from other operations, and oneDNN."""
    geometry = case.geometry
    x = jnp.ones((case.batch, case.size, case.size, case.channels))
    shape = (case.kernel, case.kernel, case.channels // case.groups, case.features)
    kernel = jnp.ones(shape)
    form = choose_form(x.shape, kernel.shape, geometry)
    ways = {"plain lax": running(PLAIN, geometry, x, kernel)}
    chosen = {PLAIN: "plain lax"}
    if form is not PLAIN:
        chosen[form] = form.name
        ways[form.name] = running(form, geometry, x, kernel)
    if is_installed():
        chosen[BY_ONEDNN] = "oneDNN"
        ways["oneDNN"] = running(BY_ONEDNN, geometry, x, kernel)
    outputs = case.batch * case.features
    for side in geometry.output_size(x.shape, kernel.shape):
        outputs *= side
    return rows_of(
        case.name,
        interleave(ways | matmul(), rounds=options.rounds),
        "plain lax",
        unit="pass",
        flops=3 * 2 * outputs * shape[0] * shape[1] * shape[2],
        notes={chosen[form_on_cpu(geometry, "auto", x, kernel)]: "chosen"},
    )


def running(form: Form, geometry: Geometry, x: jax.Array, kernel: jax.Array):
    """Output and gradients as one compiled program."""

    def both(x, kernel):
        y, pull_back = jax.vjp(functools.partial(convolve, geometry, form), x, kernel)
        return y, *pull_back(y)

    program = parallel.compile_program(both, (x, kernel))
    return lambda: jax.block_until_ready(program(x, kernel))
