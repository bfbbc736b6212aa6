"""List the architectures with their parameters, multiply-adds and sources.

Example: ./launch.sh models --pattern='resnet*,vgg*'
"""

import pathlib

from absl import flags

from cnnjax import cli
from cnnjax.analysis.formats import check_format

PATTERN = flags.DEFINE_string(
    "pattern", "*", "Names or shell patterns, separated by commas."
)
FORMAT = flags.DEFINE_string("format", "text", "text, json, csv or md.")
PUBLISH = flags.DEFINE_bool("publish", False, "Write the table into docs/networks.md.")


def main() -> None:
    # Imported late: --help and flag errors need no jax.
    from cnnjax.ablation.report.replacing import alone, replace_block
    from cnnjax.analysis.listing import find_models, render_listing

    check_format(FORMAT.value)
    names = find_models(PATTERN.value)
    if PUBLISH.value:
        repository = pathlib.Path(__file__).parent.parent
        page = repository / "docs" / "networks.md"
        with alone(repository):
            replace_block(page, "models", render_listing(names, "md"))
        print(f"published: {len(names)} models in {page}")
        return
    print(render_listing(names, FORMAT.value))


if __name__ == "__main__":
    cli.run(main, only_prints=True)
