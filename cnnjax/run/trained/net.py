"""A trained net by itself: module, weights, preprocessing, and where it came from."""

import dataclasses
from typing import Any

from flax import linen as nn
from ml_collections import ConfigDict

from cnnjax.config import splat, to_dict
from cnnjax.data.preprocess import Preprocess
from cnnjax.layers.norm import Norm
from cnnjax.models.registry import create_model, variant
from cnnjax.net.execution import EXECUTION
from cnnjax.net.stacked import unscan
from cnnjax.texts import one_line

WEIGHTS = ("last", "best", "ema", "initial")
_IN_WORDS = {
    "last": "last weights",
    "best": "weights best on validation",
    "ema": "averaged weights",
    "initial": "initial weights",
}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TrainedNet:
    """One seed of a run, ready to be applied.

        logits = net.network.apply(net.variables, net.preprocess(images), train=False)

    Args:
      network: the Linen module.
      variables: {'params': ..., other collections}, NumPy arrays without a seed axis.
      preprocess: images uint8, of any size -> what the network takes.
      class_names: one per logit.
      config: of the run.
      arm: name of the run, or of the arm of its ablation.
      seed: which of its seeds.
      weights: one of `WEIGHTS`.
      step: optimizer steps that these weights have seen.
      test_error: as reported for these weights, in percent; None where none was.
      note: what there is to know about them; may be empty.
      data_fingerprint: of the data set that it was trained on; '' where unknown.
    """

    network: nn.Module
    variables: dict[str, Any]
    preprocess: Preprocess
    class_names: tuple[str, ...]
    config: ConfigDict
    arm: str
    seed: int
    weights: str
    step: int
    test_error: float | None
    note: str
    data_fingerprint: str = ""

    def __repr__(self) -> str:
        return one_line(f"<{self.words()}{f' ({self.note})' if self.note else ''}>")

    def words(self) -> str:
        """A description in one line."""
        height, width, channels = self.preprocess.image_shape
        error = (
            "" if self.test_error is None else f", test error {self.test_error:.2f}%"
        )
        return one_line(
            f"{_net_in_words(self.config)} of {self.arm}, seed {self.seed}: "
            f"{_IN_WORDS[self.weights]}, step {self.step:,}{error}; images "
            f"{height}x{width}x{channels}, {len(self.class_names)} classes"
        )

    def plain(self) -> "TrainedNet":
        """The same, stored separately per block, however blocks were executed."""
        image_shape = self.preprocess.image_shape
        network, variables = unscan(self.network, self.variables, image_shape)
        return dataclasses.replace(self, network=network, variables=variables)


def _net_in_words(config: ConfigDict) -> str:
    """The entry's name, and what was changed of it."""
    name, entry = config.model.name, variant(config.model.name)
    usual = entry.defaults() | {"act": entry.act, "name": name}
    changed = [
        f"{key}={value}"
        for key, value in config.model.items()
        if key not in EXECUTION and value != usual.get(key)
    ]
    if config.norm.kind != entry.norm["kind"]:
        changed.append(f"norm={config.norm.kind}")
    return f"{name} ({', '.join(changed)})" if changed else name


def build_network(architecture: dict[str, Any]) -> nn.Module:
    """The net of `architecture_of`, or of a config.

    Args:
      architecture: sections 'model' and 'norm' of a config, 'num_classes', 'dtype'.

    Raises:
      UserError: a name, key or value that this version has not.
    """
    return splat(
        "model",
        create_model,
        architecture["model"],
        norm=splat("norm", Norm, architecture["norm"]),
        num_classes=architecture["num_classes"],
        dtype=architecture["dtype"],
    )


def architecture_of(
    config: ConfigDict, num_classes: int, *, plain: bool
) -> dict[str, Any]:
    """What `build_network` builds a net from, as JSON.

    Args:
      config: of the run.
      num_classes: of the data set.
      plain: with every block by itself, however the run executed them.
    """
    sections = to_dict(config)
    model = sections["model"]
    if plain:
        model |= {key: value for key, value in EXECUTION.items() if key in model}
    return {
        "model": model,
        "norm": sections["norm"],
        "num_classes": num_classes,
        "dtype": sections["train"]["dtype"],
    }
