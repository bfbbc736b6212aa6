"""Copy the report of a finished ablation into docs/results/ and the README.

Example: ./launch.sh publish --workdir=runs/degradation/laptop
"""

import pathlib

from absl import flags

from cnnjax import cli
from cnnjax.ablation.publish import publish
from cnnjax.errors import UserError

WORKDIR = flags.DEFINE_string("workdir", "", "Folder of an ablation (with plan.json).")


def main() -> None:
    if not WORKDIR.value:
        raise UserError("--workdir is missing: give the folder of an ablation")
    repository = pathlib.Path(__file__).parent.parent
    print(f"published: {publish(pathlib.Path(WORKDIR.value), repository)}")


if __name__ == "__main__":
    cli.run(main)
