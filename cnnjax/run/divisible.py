"""Whether a net can be computed in parts of a batch, checked before training starts."""

from typing import Any

from flax import linen as nn
from ml_collections import ConfigDict

from cnnjax.analysis.contract import Findings
from cnnjax.errors import UserError
from cnnjax.layers.norm import Norm
from cnnjax.net.stacked import stacks_of


def check_net(
    findings: Findings, model: nn.Module, declared: Any, config: ConfigDict
) -> None:
    """Refuses choices of a config that a layer of the user's own cannot follow.

    Args:
      findings: of `analysis.contract.examine`.
      model: the net.
      declared: of `abstract_variables`.
      config: of the run.

    Raises:
      UserError: with the layer and the choice.
    """
    statistics = config.eval.statistics
    keeps = findings.keeps or findings.fixed
    if keeps and statistics != "running":
        raise UserError(
            f"config.eval.statistics is {statistics!r}, and layer {keeps} keeps "
            "statistics of its own, of which only running ones are known: set it to "
            "'running', or give the net a field `norm` that makes its norms"
        )
    in_one_body = stacks_of(declared) or getattr(model, "remat", "none") != "none"
    if findings.draws and in_one_body:
        raise UserError(
            f"layer {findings.draws} draws random numbers, and not the same ones when "
            "blocks are scanned or computed again: set config.model.scan_blocks to "
            "False and config.model.remat to 'none'"
        )


def check_batch(norm: Norm | None, findings: Findings, config: ConfigDict) -> None:
    """Raises a UserError unless one device can compute the batch as it is asked to.

    Args:
      norm: of the net; None if it takes none.
      findings: of `analysis.contract.examine`.
      config: of the run.
    """
    if reason := why_not(norm, findings, config, 1):
        raise UserError(reason)


def why_not(
    norm: Norm | None, findings: Findings, config: ConfigDict, data: int
) -> str | None:
    """Why the net cannot be computed on so many devices a batch, or None."""
    whole = config.parallel.mode == "jit"
    if other := findings.of_parts():
        if config.train.microbatches > 1:
            return (
                f"{other}, and with config.train.microbatches="
                f"{config.train.microbatches} that is one microbatch only: set it to 1"
            )
        if not whole and data > 1:
            return (
                f"{other}, and in --parallel.mode={config.parallel.mode} each of "
                f"{data} devices is given a shard of the batch: use --parallel.mode="
                "jit, where a layer is given all of it, or another --parallel.layout"
            )
    if norm is None:
        return None
    return norm.refusal(
        config.train.batch_size,
        microbatches=config.train.microbatches,
        num_devices=data,
        whole=whole,
    )
