"""Write reports and records of finished ablations into docs/results/ and other pages.

Example: ./launch.sh publish --atlas --scale=laptop
         ./launch.sh publish --workdir=runs/degradation/laptop
         ./launch.sh publish --refresh
"""

import pathlib

from absl import flags

from cnnjax import cli
from cnnjax.errors import UserError, printable
from cnnjax.screen import say

WORKDIR = flags.DEFINE_string(
    "workdir",
    "",
    "Folder of an ablation (with plan.json); with --atlas, folder of all runs [runs].",
)
ATLAS = flags.DEFINE_bool("atlas", False, "Publish all finished ablations of --scale.")
REFRESH = flags.DEFINE_bool(
    "refresh",
    False,
    "Say on all pages what of their definitions has changed since; needs no runs.",
)
CHANGED = flags.DEFINE_string(
    "numbers_changed",
    "",
    "With --refresh: what changed numbers, but no definition, to stand on the pages.",
)
REPORTS = flags.DEFINE_list(
    "reports", [], "The pages of --numbers_changed, such as degradation-laptop."
)
SCALE = flags.DEFINE_string("scale", "laptop", "With --atlas: smoke, laptop or paper.")


def main() -> None:
    from cnnjax.ablation.atlas import check_scale
    from cnnjax.ablation.plan import ablation_names
    from cnnjax.ablation.report import definition
    from cnnjax.ablation.report.publish import publish, publish_atlas
    from cnnjax.ablation.report.replacing import alone

    repository = pathlib.Path(__file__).parent.parent
    if REFRESH.value:
        with alone(repository):
            if CHANGED.value:
                definition.state_change(repository, REPORTS.value, CHANGED.value)
            changed = definition.refresh(repository)
        say(f"pages changed: {len(changed)}")
        return
    if not ATLAS.value:
        if not WORKDIR.value:
            raise UserError("--workdir is missing: give the folder of an ablation")
        say(f"published: {publish(pathlib.Path(WORKDIR.value), repository)}")
        return
    check_scale(ablation_names(), SCALE.value)
    root = pathlib.Path(WORKDIR.value or "runs")
    folders, left = publish_atlas(root, SCALE.value, repository, ablation_names())
    files = [file for folder in folders for file in folder.rglob("*.*")]
    size = sum(file.stat().st_size for file in files) / 1e6
    say(f"published: {len(folders)} reports, {size:.1f} MB, docs/results/README.md")
    if left:
        words = (f"{name} ({printable(reason)})" for name, reason in left.items())
        say(f"left out: {'; '.join(words)}")


if __name__ == "__main__":
    cli.run(main)
