"""What `import cnnjax` gives, and what the docs say about it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import cnnjax
from cnnjax.analysis.listing import render_listing

ROOT = Path(__file__).parents[1]


def test_the_public_names():
    assert cnnjax.list_models("resnet18") == ["resnet18"]
    assert type(cnnjax.create_model("resnet18")).__name__ == "ResNet"
    assert {"from_torch", "to_torch", "load"} <= set(cnnjax.interop.__all__)
    for name in cnnjax.__all__:
        assert getattr(cnnjax, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'create_modle'"):
        _ = cnnjax.create_modle


def test_the_package_alone_imports_no_jax():
    code = "import sys, cnnjax; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_examples_name_reports_that_have_records():
    places = [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "experiments").glob("*.py"),
    ]
    for path in places:
        for folder in re.findall(r"--(?:resume_)?from=(docs/\S+)", path.read_text()):
            assert (ROOT / folder / "records.jsonl").is_file(), f"{path}: {folder}"


def test_the_table_of_the_docs_is_that_of_the_registry():
    text = (ROOT / "docs/networks.md").read_text("utf-8")
    table = text.split("<!-- begin models -->\n")[1].split("\n<!-- end models -->")[0]
    again = render_listing(cnnjax.list_models(), "md")
    assert table == again, "write it again: ./launch.sh models --publish"
