"""Where the memory, the parameters and the operations of a net sit, layer by layer.

The net is traced once, each module's output under its name; products, shapes and
receptive fields are read off the traced program, so that any module that a user writes
is counted as it is.
"""

import collections
import dataclasses
import math
import re
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.core import meta
from jax.ad_checkpoint import checkpoint_name
from jax.extend import core

from cnnjax.analysis import receptive_field
from cnnjax.analysis.complexity import products, subprograms
from cnnjax.analysis.pooling import Pooling
from cnnjax.layers.flatten import Flatten
from cnnjax.layers.functional.window import as_pair
from cnnjax.layers.group_norm import MOST_GROUPS, GroupNorm, default_groups
from cnnjax.layers.pool import AdaptiveAvgPool, AvgPool, GlobalAvgPool, MaxPool
from cnnjax.net.execution import unscanned
from cnnjax.net.forward import forward_eval
from cnnjax.net.initialize import abstract_variables
from cnnjax.net.observe import Call, observe
from cnnjax.net.parts import norms_of

# "auxiliary" are heads that only training runs.
KINDS = ("conv", "pool", "dense", "norm", "flatten", "other", "auxiliary")
# Kinds whose outputs are kept: a flattened map is a view, norms and activations can be
# computed in place.
STORED = ("conv", "pool", "dense")
BYTES = 4  # of a float32


@dataclasses.dataclass(frozen=True)
class Layer:
    """One row of the table, for one image.

    Args:
      name: path of the module.
      kind: one of `KINDS`.
      output: shape without the batch axis, (height, width, channels) or (features,).
      params: number of parameters.
      multiply_adds: of convolutions and dense products.
      pool_operations: values that pooling windows look at.
      activation_bytes: size of the output in float32.
      receptive_field: (rows, columns) of the image that an output value depends on;
        may exceed the image, whose padding then counts.
      in_evaluation: False for auxiliary heads, which only training runs.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    params: int
    multiply_adds: int
    pool_operations: int
    activation_bytes: int
    receptive_field: tuple[int, int] | None
    in_evaluation: bool = True

    @property
    def channels(self) -> int | None:
        return self.output[-1] if self.output else None

    @property
    def size(self) -> tuple[int, int] | None:
        return self.output[:2] if len(self.output) == 3 else None


@dataclasses.dataclass(frozen=True)
class Profile:
    """The rows of a net in the order of execution, and what they add up to.

    `groups` has a sentence where default groups of group norm are not 32, else "".
    """

    name: str
    input_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    groups: str = ""

    def totals(self) -> dict[str, int]:
        """Sums over all rows; `activation_bytes` over the kinds in `STORED`."""
        return {
            "params": sum(layer.params for layer in self.layers),
            "multiply_adds": sum(layer.multiply_adds for layer in self.layers),
            "pool_operations": sum(layer.pool_operations for layer in self.layers),
            "activation_bytes": self._stored(self.layers),
        }

    def by_kind(self) -> dict[str, dict[str, int]]:
        """The same sums for each kind of layer that occurs."""
        sums = {}
        for kind in KINDS:
            rows = [layer for layer in self.layers if layer.kind == kind]
            if rows:
                sums[kind] = dataclasses.replace(self, layers=tuple(rows)).totals()
        return sums

    @staticmethod
    def _stored(layers) -> int:
        return sum(each.activation_bytes for each in layers if each.kind in STORED)


def profile_model(
    model: nn.Module, input_shape: tuple[int, int, int], name: str = ""
) -> Profile:
    """The table of a net for one image, in evaluation.

    Args:
      model: a net of `create_model`, or any module of the same call.
      input_shape: (height, width, channels).
      name: what to call it.

    Raises:
      UserError: the net cannot take this input size.
    """
    model = unscanned(model)  # blocks one by one, each with its row
    variables = meta.unbox(abstract_variables(model, input_shape))
    modules: dict[str, _Called] = {}
    image = jax.ShapeDtypeStruct((1, *input_shape), np.float32)
    state = {c: tree for c, tree in variables.items() if c != "params"}
    with observe(_named(modules)):
        traced = jax.make_jaxpr(lambda p, s, x: forward_eval(model, p, s, x))(
            variables.get("params", {}), state, image
        )
    fields: dict[str, receptive_field.Field] = {}
    inputs = [
        receptive_field.Field((None,) * len(v.aval.shape), {})
        for v in traced.jaxpr.invars[:-1]
    ]
    image_field = receptive_field.of_image(rank=4)
    pooling = Pooling()
    receptive_field.propagate(traced.jaxpr, [*inputs, image_field], fields, pooling)
    params = _params_by_module(variables.get("params", {}))
    norms = norms_of(model)
    counted = _products_by_module(traced.jaxpr)
    rows = [
        _row(path, called, params.get(path, {}), counted[path], fields.get(path), norms)
        for path, called in modules.items()
        if called.is_leaf or path in params or any(counted[path].values())
    ]
    rows = _with_functions(rows, pooling, modules) + _never_called(params, modules)
    shown = tuple(row for row in rows if row.params or row.kind != "other")
    return Profile(name, input_shape, shown, _other_groups(modules))


def _other_groups(modules: "dict[str, _Called]") -> str:
    """What `GroupNorm` chose in layers whose channels 32 groups do not divide."""
    layers = collections.defaultdict(list)
    for path, called in modules.items():
        norm = called.module
        if isinstance(norm, GroupNorm) and norm.chooses:
            *positions, channels = called.output
            groups = default_groups(channels, math.prod(positions))
            if groups != MOST_GROUPS:
                layers[channels, groups].append(path)
    if not layers:
        return ""
    chosen = (
        f"{groups} groups of {channels // groups} in layers of {channels} channels "
        f"({paths[0]}" + (f" and {len(paths) - 1} more)" if paths[1:] else ")")
        for (channels, groups), paths in sorted(layers.items())
    )
    return (
        f"{MOST_GROUPS} do not divide the channels of every layer, which takes the "
        f"largest number up to {MOST_GROUPS} that does: " + "; ".join(chosen)
    )


def _with_functions(rows: list[Layer], pooling: Pooling, modules) -> list[Layer]:
    """The rows with those of pooling functions, each after what ended before it."""
    placed = [(index, 0, row) for index, row in enumerate(rows)]
    names = [row.name for row in rows]
    counts: collections.Counter[str] = collections.Counter()
    for number, pooled in enumerate(pooling.found(), start=1):
        caller = modules.get(pooled.module)
        if caller and type(caller.module).__name__.endswith("Pool"):
            continue  # has a row by its name
        before = set(pooling.ended[: pooled.behind])
        index = max((i for i, n in enumerate(names) if n in before), default=-1)
        name = "/".join(filter(None, (pooled.module, pooled.kind)))
        counts[name] += 1
        row = Layer(
            name=name if counts[name] == 1 else f"{name}_{counts[name]}",
            kind="pool",
            output=tuple(pooled.output[1:]),
            params=0,
            multiply_adds=0,
            pool_operations=pooled.operations,
            activation_bytes=BYTES * math.prod(pooled.output),
            receptive_field=_extent(pooled.field),
        )
        placed.append((index, number, row))
    return [row for *_, row in sorted(placed, key=lambda place: place[:2])]


@dataclasses.dataclass
class _Called:
    """A module that the pass went through."""

    module: nn.Module
    num_inputs: int
    output: tuple[int, ...]
    is_leaf: bool


def _named(modules: dict[str, _Called]):
    """For `observe`: names each module's output, and marks its operations."""
    running: list[str] = []

    def around(call: Call):
        path = call.path
        running.append(path)
        # In the order of the calls: a net stands before its children.
        num_inputs = sum(leaf.size for leaf in jax.tree.leaves(call.args))
        modules[path] = _Called(call.module, num_inputs, (), is_leaf=True)
        with jax.named_scope(f"<{path}>"):
            output = call.run()
        running.pop()
        if running:
            modules[running[-1]].is_leaf = False
        modules[path].output = jax.tree.leaves(output)[0].shape[1:]
        return jax.tree.map(lambda y: checkpoint_name(y, path), output)

    return around


def _params_by_module(params: Any) -> dict[str, dict[str, int]]:
    """Module -> leaf -> number of values."""
    sizes: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for path, leaf in traverse_util.flatten_dict(params).items():
        sizes["/".join(path[:-1])][path[-1]] = math.prod(leaf.shape)
    return sizes


def _products_by_module(jaxpr: core.Jaxpr) -> dict[str, collections.Counter]:
    """Module -> primitive -> multiply-adds, by the marks of `_named`."""
    sums: dict = collections.defaultdict(collections.Counter)

    def walk(program, inherited, times):
        for equation in program.eqns:
            marks = re.findall(r"<([^<>]*)>", str(equation.source_info.name_stack))
            scope = marks[-1] if marks else inherited
            inner = subprograms(equation)
            if equation.primitive.name == "cond":
                inner = inner[-1:]
            repeats = equation.params.get("length", 1) if inner else 1
            for sub in inner:
                walk(sub, scope, times * repeats)
            if not inner and products(equation):
                name = equation.primitive.name
                sums[scope][name] += times * products(equation)

    walk(jaxpr, "", 1)
    return sums


def _row(path, called, params, counted, field, norms) -> Layer:
    size = math.prod(called.output)
    return Layer(
        name=path or "(net)",
        kind=_kind(called.module, params, counted, norms),
        output=tuple(called.output),
        params=sum(params.values()),
        multiply_adds=sum(counted.values()),
        pool_operations=_pool_operations(called, size),
        activation_bytes=BYTES * size,
        receptive_field=_extent(field),
    )


def _kind(module: nn.Module, params: dict, counted: collections.Counter, norms) -> str:
    """By what the module does; by its class only where it computes no product."""
    if counted["conv_general_dilated"]:
        return "conv"
    if counted["dot_general"]:
        return "dense"
    if type(module).__name__.endswith("Pool"):
        return "pool"
    if isinstance(module, Flatten):
        return "flatten"
    return "norm" if isinstance(module, norms) or "scale" in params else "other"


def _pool_operations(called: _Called, size: int) -> int:
    """How many values the windows of a pooling layer look at, all together."""
    module = called.module
    if isinstance(module, MaxPool | AvgPool):
        return size * math.prod(as_pair(module.window))
    if isinstance(module, GlobalAvgPool | AdaptiveAvgPool):
        return called.num_inputs
    return 0


def _extent(field) -> tuple[int, int] | None:
    """Rows and columns that an output depends on."""
    if field is None:
        return None
    extents = {axis: (low, high) for axis, (low, high) in field.mixed.items()}
    sizes = {axis: high - low + 1 for axis, (low, high) in extents.items()}
    for span in field.spans:
        if span:
            sizes[span.axis] = max(span.size, sizes.get(span.axis, 0))
    return (sizes[0], sizes[1]) if sizes.keys() >= {0, 1} else None


def _never_called(params, modules) -> list[Layer]:
    """A row for each part that an evaluation skips: auxiliary heads."""
    skipped: collections.Counter[str] = collections.Counter()
    for path, leaves in params.items():
        if path not in modules:
            skipped[path.split("/")[0]] += sum(leaves.values())
    return [
        Layer(name, "auxiliary", (), count, 0, 0, 0, None, in_evaluation=False)
        for name, count in skipped.items()
    ]
