"""The overview of many ablations, and their publication."""

import dataclasses
import re
import shutil

import pytest

from cnnjax.ablation.report import pages
from cnnjax.ablation.report.overview import gallery_context, read_entry, write_index
from cnnjax.ablation.report.publish import publish, publish_atlas, without_folders
from cnnjax.errors import UserError
from tests.ablation.report.test_pages import _Tags
from tests.ablation.small_degradation import get_ablation
from tests.ablation.synthetic_sweep import edit_result, write_sweep

PAGES = {"atlas-laptop": "atlas.md", "degradation-laptop": "first_verdict.md"}


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "docs").mkdir(parents=True)
    for name, page in PAGES.items():
        block = f"<!-- begin {name} -->\n<!-- end {name} -->\n"
        (folder / "docs" / page).write_text(f"before\n{block}after\n")
    return folder


@pytest.fixture
def runs(tmp_path):
    write_sweep(tmp_path / "runs/degradation/laptop")
    return tmp_path / "runs"


def bars(text):
    """Numbers of bars in the lines of the one table of a Markdown text."""
    table = [line for line in text.splitlines() if line.startswith("|")]
    return {len(re.findall(r"(?<!\\)\|", line)) for line in table}, len(table)


def test_the_overview_has_a_row_per_question(runs):
    entries = [
        read_entry("degradation", runs / "degradation/laptop"),
        read_entry("bottleneck", runs / "bottleneck/laptop", "refused: <no> data | x"),
    ]
    page = write_index(runs / "atlas-laptop", "laptop", entries)
    tags = _Tags()
    tags.feed(page.read_text())
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))
    assert 'href="../degradation/laptop/report.html"' in page.read_text()
    assert "bottleneck/laptop" not in page.read_text()
    assert "refused: &lt;no&gt; data" in page.read_text()
    assert page.read_text().count("<svg") == 1
    text = page.with_suffix(".md").read_text()
    assert bars(text) == ({7}, 4)
    verdicts = entries[0].verdicts
    first = verdicts[0]
    assert f"**{first.verdict}:** {first.claim.text} **{first.direction}**" in text
    for other in verdicts[1:]:
        assert f"{other.claim.text} **{other.direction}**" in text
        assert other.claim.text in page.read_text()
    assert (page.parent / "thumbnails/degradation.png").stat().st_size < 20_000


def test_claims_are_corrected_over_the_whole_atlas(runs):
    entry = read_entry("degradation", runs / "degradation/laptop")
    context = gallery_context("laptop", [entry, entry])
    for shown in context["entries"]:
        for verdict in shown.verdicts:
            # The same trainings in two questions are counted once.
            assert verdict.in_atlas == verdict.verdict
            if verdict.is_decided:
                assert verdict.p_atlas == verdict.p_holm
    assert "over all claims of the atlas" in context["RULE"]


def test_a_broken_plan_is_a_sentence_in_the_overview(tmp_path):
    (tmp_path / "plan.json").write_text("{")
    entry = read_entry("degradation", tmp_path)
    assert "plan.json is not valid JSON" in entry.trouble
    assert not entry.is_finished


@pytest.mark.parametrize(
    ("name", "scale"), [("head", "laptop"), ("degradation", "smoke")]
)
def test_the_folder_of_another_ablation_is_a_trouble(runs, name, scale):
    """Its runs stood in the row of the other."""
    entry = read_entry(name, runs / "degradation/laptop", scale=scale)
    assert entry.trouble == "its folder holds 'degradation' at scale 'laptop'"
    assert (entry.sweep, entry.verdicts) == (None, ())
    assert read_entry("degradation", runs / "degradation/laptop", "", "laptop").sweep


def test_all_finished_reports_are_published(runs, repository):
    other = dataclasses.replace(get_ablation(), name="bottleneck")
    write_sweep(runs / "bottleneck/laptop", seeds=(0, 1), ablation=other)
    shutil.rmtree(runs / "bottleneck/laptop/plain-8")
    edit_result(
        runs / "degradation/laptop/plain-56/seed-0",
        status="failed",
        reason="the loss was not finite",
        final=None,
        best=None,
    )
    names = ["bottleneck", "degradation"]
    folders, left = publish_atlas(runs, "laptop", repository, names)
    assert left == {"bottleneck": "it is not finished"}
    assert [folder.name for folder in folders] == ["degradation-laptop"]
    kept = {str(file.relative_to(folders[0])) for file in folders[0].rglob("*.*")}
    assert kept >= {
        "report.md",
        "results.csv",
        "plots/error.png",
        "plots/thumbnail.png",
    }
    # All reports of the atlas together must stay below 10 MB.
    assert sum(file.stat().st_size for file in folders[0].rglob("*.*")) < 450_000
    gallery = (repository / "docs/results/README.md").read_text()
    for link in re.findall(r'\]\(([^)]+)\)|src="([^"]+)"', gallery):
        assert (repository / "docs/results" / "".join(link)).is_file()
    assert "1 failed" in gallery
    page = (repository / "docs/atlas.md").read_text()
    assert "(results/degradation-laptop/report.md)" in page
    assert page.startswith("before")
    assert page.endswith("after\n")


def test_nothing_finished_is_one_sentence(tmp_path, repository):
    with pytest.raises(UserError, match=r"no ablation in .* is finished"):
        publish_atlas(tmp_path, "laptop", repository, ["degradation"])


def test_one_report_goes_into_the_page_of_tables(runs, repository, monkeypatch):
    monkeypatch.setattr(pages, "build_groups", lambda sweep, verdicts: [])  # seconds
    publish(runs / "degradation/laptop", repository)
    page = (repository / "docs/first_verdict.md").read_text()
    assert "| plain-56 |" in page
    (runs / "degradation/laptop/plain-56/seed-0/result.json").unlink()
    with pytest.raises(UserError, match="not done"):
        publish(runs / "degradation/laptop", repository)


def test_folders_of_the_machine_are_not_published():
    command = "ablate --data_dir=/home/me/data/tfds --workdir=/scratch/runs --jobs=2"
    assert without_folders(command) == (
        "ablate --data_dir=.../tfds --workdir=.../runs --jobs=2"
    )
    assert without_folders("ablate --workdir=runs/a") == "ablate --workdir=runs/a"
    command = "ablate --set=data.data_dir=/home/me/tfds --workdir=~me/runs/x --jobs=2"
    assert without_folders(command) == (
        "ablate --set=data.data_dir=.../tfds --workdir=.../x --jobs=2"
    )
    command = "ablate '--data_dir=/home/my data/all sets' --config=/me/a.py"
    assert without_folders(command) == (
        "ablate '--data_dir=.../all sets' --config=.../a.py"
    )
