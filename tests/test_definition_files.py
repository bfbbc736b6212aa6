"""Recipes and ablations given by name or by path, from any folder."""

import pathlib
import shutil
import textwrap

import pytest

from cnnjax.ablation.plan import load_ablation, make_plan
from cnnjax.config import load_recipe, recipe_path
from cnnjax.errors import UserError
from configs import base

CONFIGS = pathlib.Path(base.__file__).parent
RECIPE = (
    "from configs import resnet_digits\n\n\ndef get_config():\n"
    "    config = resnet_digits.get_config()\n"
    "    config.train.batch_size = 77\n    return config\n"
)
ABLATION = """
from cnnjax.ablation.define import Ablation, Axis, Scale


def get_ablation():
    return Ablation(
        name="mine", title="Mine", question="Is it?", source="none",
        axes=[Axis.over("depth", "model.depth", [8, 14])], x_axis="depth",
        arm_name="depth-{depth}", metrics=["test_error"],
        scales={"smoke": Scale(recipe="RECIPE", seeds=1)},
    )
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a recipe and an ablation in sub/."""
    sub = tmp_path / "here" / "sub"
    sub.mkdir(parents=True)
    (sub / "mine.py").write_text(ABLATION.replace("RECIPE", "resnet_digits"))
    (sub / "recipe.py").write_text(RECIPE)
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    monkeypatch.chdir(tmp_path / "here")
    return sub


WAYS = ["sub/{}.py", "sub/{}", "./sub/{}.py", "sub/../sub/{}.py", "~/sub/{}.py", "{}"]


@pytest.mark.parametrize("way", WAYS)
def test_any_way_of_writing_a_path(folder, way):
    if way == "{}":
        way = f"{folder}/{{}}.py"  # an absolute one
    assert load_recipe(way.format("recipe")).train.batch_size == 77
    assert load_ablation(way.format("mine")).title == "Mine"


def test_paths_without_our_recipes(folder, monkeypatch):
    """As in an installation of the package without recipes."""
    monkeypatch.setattr("cnnjax.definitions.our_folder", lambda: None)
    assert recipe_path("sub/recipe.py") == pathlib.Path("sub/recipe.py")
    with pytest.raises(UserError, match="unknown config 'resnet_digits'"):
        recipe_path("resnet_digits")


@pytest.mark.parametrize("way", ["{}", "{}.py", "configs/{}.py", "configs/{}"])
def test_ours_by_name_from_anywhere(folder, way):
    assert recipe_path(way.format("resnet_digits")) == CONFIGS / "resnet_digits.py"
    way = way.replace("configs/", "configs/ablations/")
    assert load_ablation(way.format("degradation")).name == "degradation"


def test_a_name_is_never_a_file_that_lies_about(folder, monkeypatch):
    """A path never means one of ours, so the result does not depend on the folder."""
    monkeypatch.chdir(folder)
    shutil.copy("recipe.py", "resnet_digits.py")
    assert recipe_path("resnet_digits") == CONFIGS / "resnet_digits.py"
    assert load_recipe("resnet_digits.py").train.batch_size == 77
    with pytest.raises(UserError, match=r"no file './mlp_mnist.py' seen from"):
        recipe_path("./mlp_mnist.py")
    with pytest.raises(UserError, match="no file 'gone/mlp_mnist'"):
        recipe_path("gone/mlp_mnist")
    pathlib.Path("configs").mkdir()  # a folder of the user
    with pytest.raises(UserError, match=r"no file 'configs/mlp_mnist.py'"):
        recipe_path("configs/mlp_mnist.py")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sub/recipee.py", ["no file 'sub/recipee.py' seen from", "'sub/recipe.py'"]),
        ("gone/mlp.py", ["no file 'gone/mlp.py'", "mlp_mnist", "--config"]),
        ("/gone/x.py", ["no file '/gone/x.py': give the path", "configs/: "]),
        ("resnet_digit.py", ["no file", "did you mean 'resnet_digits'"]),
        ("resnet_digit", ["unknown config", "did you mean 'resnet_digits'"]),
        ("sub", ["unknown config 'sub'"]),
        ("sub/", ["no file 'sub/'", "seen from"]),
        ("sub/notes.txt", ["config file 'sub/notes.txt' must end in .py"]),
        ("x/" * 3000 + "y.py", ["no file 'x/x/"]),
    ],
)
def test_what_is_no_file_says_from_where_and_what_is_near(folder, name, words):
    (folder / "notes.txt").write_text("depth 20")
    with pytest.raises(UserError) as caught:
        recipe_path(name)
    for word in words:
        assert word in str(caught.value)


def test_a_missing_ablation_names_its_flag_and_ours(folder):
    with pytest.raises(UserError, match=r"sub/min\.py.*here.*sub/mine\.py.*--ablation"):
        load_ablation("sub/min.py")
    with pytest.raises(UserError, match="did you mean 'degradation'"):
        load_ablation("configs/ablations/degradatoin.py")


BROKEN = {
    "no function": ("x = 3\n", r"mine.py defines no function get_ablation\(\)"),
    "no call": ("get_ablation = 3\n", r"defines no function get_ablation\(\)"),
    "syntax": ("def get_ablation(:\n", "SyntaxError in line 1"),
    "a recipe": ("def get_ablation():\n    return {}\n", "a dict, not an Ablation"),
    "exit": ("import sys\nsys.exit(3)\n", "SystemExit in line 2"),
    "name": (ABLATION.replace('"mine"', '"other"'), "another name, 'other'"),
    "axis": (ABLATION.replace('x_axis="depth"', 'x_axis="dept"'), "line 6.*'dept'"),
}


@pytest.mark.parametrize(("text", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_ablation_is_one_sentence_with_its_file(folder, text, words):
    (folder / "mine.py").write_text(text)
    with pytest.raises(UserError, match=f"sub/mine.py.*{words.split('mine.py')[-1]}"):
        load_ablation("sub/mine.py")


def test_the_ablation_of_the_docs_is_complete(tmp_path):
    text = (CONFIGS.parent / "docs/adding.md").read_text("utf-8")
    block = text.split("<!-- begin ablation -->")[1].split("<!-- end ablation -->")[0]
    code = textwrap.dedent(block).strip().removeprefix("```python\n")
    code = code.removesuffix("```")
    assert f"in {len(code.splitlines())} lines" in text
    path = tmp_path / "preact_group_norm.py"
    path.write_text(code)
    ablation = load_ablation(str(path))
    for scale, posed in (("smoke", 2), ("laptop", 2)):
        options = {"num_seeds": None, "data_dir": "", "workdir": "", "changes": {}}
        assert len(make_plan(ablation, scale, **options).arms) == 4
        assert len(ablation.posed(scale)) == posed


def test_a_recipe_lies_beside_its_ablation(folder, monkeypatch):
    """From any folder, even with another file of that name in it."""
    text = ABLATION.replace("RECIPE", "recipe.py")
    (folder / "mine.py").write_text(text)
    (folder.parent / "recipe.py").write_text(RECIPE.replace("77", "55"))
    options = {"num_seeds": None, "data_dir": "", "workdir": "", "changes": {}}
    plan = make_plan(load_ablation("sub/mine.py"), "smoke", **options)
    assert {cell.config.train.batch_size for cell in plan.cells} == {77}
    (folder / "recipe.py").unlink()
    (folder.parent / "recipe.py").unlink()
    with pytest.raises(UserError, match=r"no file 'recipe.py'.*'smoke' of mine\.py"):
        make_plan(load_ablation("sub/mine.py"), "smoke", **options)


def test_a_recipe_with_a_stale_key_is_one_sentence(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from configs import base\n\n\ndef get_config():\n"
        "    config = base.get_config()\n    config.train.epoch = 3.0\n"
        "    return config\n"
    )
    with pytest.raises(UserError, match=r"mine.py cannot be used.*epochs") as error:
        load_recipe(str(path))
    assert "\n" not in str(error.value)


def test_an_unknown_recipe_is_answered_with_near_ones():
    with pytest.raises(UserError, match="did you mean 'resnet_cifar10'"):
        load_recipe("resnet_cifar")
