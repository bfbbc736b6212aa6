"""Measure steps, compiling, seeds, data and start-up, and compare them with torch.

Example: ./launch.sh benchmark --suite=train --against=torch --only=ResNet-20
"""

import pathlib

from absl import flags

from cnnjax import cli

SUITE = flags.DEFINE_string(
    "suite",
    "train",
    "train, inference, compile, seeds, data, photographs, startup, convolution, views, "
    "accelerator, scaling or all.",
)
AGAINST = flags.DEFINE_string("against", "", "torch, if it is installed, or ''.")
ROUNDS = flags.DEFINE_integer("rounds", 10, "Measured rounds.", lower_bound=3)
ONLY = flags.DEFINE_string("only", "", "Measure only cases whose name contains this.")
OUT = flags.DEFINE_string("out", "runs/benchmarks", "Folder of the results.")
PUBLISH = flags.DEFINE_bool(
    "publish", False, "Also write docs/benchmarks.md and its baseline numbers."
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Suite accelerator: run all of it with tiny nets, on any device."
)


def main() -> None:
    # Imported late: --help and flag errors need no jax.
    from benchmarks.run import run_suites

    run_suites(
        SUITE.value,
        against=AGAINST.value,
        rounds=ROUNDS.value,
        only=ONLY.value,
        out=pathlib.Path(OUT.value),
        repository=pathlib.Path(__file__).parent.parent,
        publish=PUBLISH.value,
        dry_run=DRY_RUN.value,
    )


if __name__ == "__main__":
    cli.run(main)
