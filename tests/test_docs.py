"""The pages of README and docs/: what they link to, name and show is there.

`bash .ci/run docs` builds the site, with warnings as errors, and runs the tutorials.
"""

import ast
import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import pytest

from configs import base
from tests.test_help import PROGRAMS, flags_of

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
PAGES = [
    ROOT / "README.md",
    *sorted(path for path in DOCS.rglob("*.md") if "results" not in path.parts),
]
FENCED = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
VERBS = {"help", "test", "docs", *PROGRAMS}
COMMAND = re.compile(r"\./launch\.sh ([a-z_]+)((?:\\\n|[^\n`#|>])*)")
FLAG = re.compile(r"--([a-z_]+(?:\.[a-z_.]+)?)")


def name_of(page):
    return str(page.relative_to(ROOT))


def shared_flags():
    """Flags that several programs define with functions of the package."""
    calls = [
        call
        for path in (*(ROOT / "cnnjax").glob("*.py"), ROOT / "cnnjax/recipes/flags.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    ]
    return {
        call.args[0].value
        for call in calls
        if call.func.attr.startswith("DEFINE_")
        and isinstance(call.args[0], ast.Constant)
    }


SHARED = shared_flags()
CONFIG = base.get_config()


def anchors_of(page):
    """Fragments of its headings, as GitHub and MyST make them."""
    text = FENCED.sub("", page.read_text("utf-8"))
    found = set()
    for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = FENCED.sub("", page.read_text("utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", link):
            continue
        target, _, fragment = unquote(link).partition("#")
        file = (page.parent / target) if target else page
        assert file.exists(), f"{link}: no such file"
        if fragment and file.suffix == ".md":
            assert fragment in anchors_of(file), f"{link}: no such heading"


def test_every_program_is_explained():
    shown = set(COMMAND.findall((DOCS / "programs.md").read_text("utf-8")))
    assert {verb for verb, _ in shown} >= VERBS - {"publish"}
    for page in PAGES:
        for verb, rest in COMMAND.findall(page.read_text("utf-8")):
            assert verb in VERBS or "--" not in rest, f"{name_of(page)}: {verb}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_flags_exist(page):
    for verb, rest in COMMAND.findall(page.read_text("utf-8")):
        if verb in ("test", "docs", "help"):  # of pytest and Sphinx
            continue
        for flag in FLAG.findall(rest):
            section, _, key = flag.partition(".")
            if section == "config" and key:
                assert_is_key(key)
            else:
                assert flag in {*flags_of(verb), *SHARED}, f"{verb} --{flag}"


def assert_is_key(path):
    section, _, key = path.partition(".")
    assert section in CONFIG, f"--config.{path}"
    # The arguments of a net are keys of its own; see `model_section`.
    assert section == "model" or key in CONFIG[section], f"--config.{path}"


def test_every_recipe_and_question_is_listed():
    recipes = {p.stem for p in (ROOT / "configs").glob("*_*.py")} - {"__init__"}
    text = (DOCS / "recipes.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == recipes
    questions = {p.stem for p in (ROOT / "configs/ablations").glob("[a-z]*.py")}
    text = (DOCS / "atlas.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == questions


def test_the_readme_takes_two_screens():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 100


@pytest.mark.parametrize("page", TUTORIALS, ids=name_of)
def test_a_tutorial_is_a_notebook_that_can_be_built(page):
    """Its cells are Python or a shell script, and it begins in a folder of its own."""
    text = page.read_text("utf-8")
    assert text.startswith("---\nfile_format: mystnb\n")
    cells = re.findall(r"```\{code-cell\}\n(.*?)```", text, re.DOTALL)
    assert "import start_notebook" in cells[0]
    for cell in cells:
        code = re.sub(r"^:tags:.*\n", "", cell)
        if code.startswith("%%bash"):
            shlex.split(code, comments=True)
        else:
            compile(re.sub(r"^%%writefile .*\n", "", code), name_of(page), "exec")


def test_the_api_has_every_public_module():
    settings = ast.parse((DOCS / "conf.py").read_text("utf-8"))
    (public,) = [
        ast.literal_eval(node.value)
        for node in settings.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PUBLIC"
    ]
    texts = [path.read_text("utf-8") for path in (DOCS / "api").glob("*.md")]
    found = re.findall(r"^\.\. automodule:: (\S+)", "".join(texts), re.MULTILINE)
    assert sorted(found) == sorted(public)
