"""The rules of `docs/design.md` about who may know whom, enforced on the source."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What the files of a room may import of ours, besides their own room.
ROOMS = {
    "errors": set(),
    "batch": set(),
    "cache": set(),
    "process": set(),
    "records": {"errors"},
    "config": {"errors"},
    "cli": {"config", "errors"},
    "onednn": set(),
    "layers": {"batch", "errors", "onednn"},
    "models": {"layers", "errors"},
    "data": {"batch", "cache", "errors"},
    "train": {
        "batch",
        "cache",
        "config",
        "data",
        "errors",
        "models",
        "process",
        "records",
    },
    "analysis": {"layers", "models", "errors"},
    "interop": {"models", "layers", "errors"},
    "ablation": {"config", "errors", "process", "records"},
}
# Files that put rooms together, and what they may import beyond their room's list.
ASSEMBLERS = {
    "cnnjax/train/setup.py": {"analysis", "layers"},
    "cnnjax/train/parallel.py": {"layers"},
    "cnnjax/train/devices.py": {"layers"},
    "cnnjax/train/yardstick.py": {"layers"},
    "cnnjax/train/trained.py": {"layers"},
    "cnnjax/train/export.py": {"interop", "layers"},
    "cnnjax/ablation/run.py": {"data", "train"},
    "cnnjax/ablation/estimate.py": {"data", "train"},
    "cnnjax/ablation/adaptive.py": {"train"},
    "cnnjax/ablation/cell.py": {"train"},
    "cnnjax/ablation/launch.py": {"train"},
    "cnnjax/ablation/status.py": {"train"},
}
FREE_OF_JAX = [
    "cnnjax.records",
    "cnnjax.config",
    *(
        f"cnnjax.ablation.{name}"
        for name in (
            "spec",
            "plan",
            "collect",
            "stats",
            "claims",
            "report",
            "gallery",
            "publish",
            "atlas",
            "summary",
            "launchers",
            "status",
        )
    ),
]
ACROSS_DEVICES = {
    "axis_index",
    "axis_index_groups",
    "axis_name",
    "all_gather",
    "psum",
    "pmean",
    "PartitionSpec",
    "with_sharding_constraint",
}
PARALLEL_NAMES = {"jit", "pjit", "pmap", "shard_map", "mesh", "Mesh", "make_mesh"}
FOREIGN_FRAMEWORKS = {"tensorflow", "torch", "keras", "clu"}


def files(*folders):
    """Source files below some folders, relative to the root."""
    found = [p for folder in folders for p in (ROOT / folder).rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


@functools.cache
def parse(file):
    return ast.parse((ROOT / file).read_text(), filename=file)


def imports(file):
    """Dotted names of everything a file imports, at any depth of the code."""
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def identifiers(file):
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield from node.name.split(".")


def room_of(dotted):
    """'layers' for 'cnnjax.layers.norm'; None if it is not ours."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "cnnjax" and len(parts) > 1 else None


def room_of_file(file):
    return Path(file).with_suffix("").parts[1]


def test_every_room_is_in_the_table():
    rooms = {room_of_file(file) for file in files("cnnjax")} - {"__init__"}
    assert rooms <= set(ROOMS), "add the new room to ROOMS and to docs/design.md"


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room):
    for file in files("cnnjax"):
        if room_of_file(file) == room:
            allowed = ROOMS[room] | {room} | ASSEMBLERS.get(file, set())
            used = {room_of(dotted) for dotted in imports(file)} - {None}
            assert used <= allowed, f"{file} must not import {sorted(used - allowed)}"


def test_nothing_imports_the_programs_and_the_package_imports_no_config():
    for file in files("cnnjax", "configs"):
        tops = {dotted.split(".")[0] for dotted in imports(file)}
        assert "experiments" not in tops, file
        assert "configs" not in tops or file.startswith("configs/"), file


DESCRIPTIONS = ("cnnjax.ablation.spec.", "cnnjax.ablation.comparisons.")


def test_configs_import_descriptions_only():
    for file in files("configs"):
        used = {room_of(dotted) for dotted in imports(file)} - {None}
        assert used <= {"config", "models", "ablation"}, file
        if "ablation" in used:
            ours = {d for d in imports(file) if room_of(d) == "ablation"}
            assert all(d.startswith(DESCRIPTIONS) for d in ours), file


@pytest.mark.parametrize("file", files("cnnjax", "configs", "experiments"))
def test_no_other_framework(file):
    tops = {dotted.split(".")[0] for dotted in imports(file)}
    # Torch's own files are read and written by torch alone; only then is it imported.
    with_torch = ("cnnjax/interop/torch_file.py", "cnnjax/interop/write_torch.py")
    allowed = {"torch"} if file in with_torch else set()
    assert not (tops - allowed) & FOREIGN_FRAMEWORKS
    assert not any("flax.metrics" in dotted for dotted in imports(file))


def test_only_parallel_names_what_runs_on_devices():
    for file in files("cnnjax", "experiments"):
        if file != "cnnjax/train/parallel.py":
            found = PARALLEL_NAMES & set(identifiers(file))
            assert not found, f"{file} names {sorted(found)}: only parallel.py may"


def test_only_two_files_name_operations_across_devices():
    allowed = ("cnnjax/train/parallel.py", "cnnjax/train/parts.py")
    for file in files("cnnjax", "experiments"):
        if file not in allowed:
            found = ACROSS_DEVICES & set(identifiers(file))
            assert not found, f"{file} names {sorted(found)}"


def apply_calls(node):
    return [
        call
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "apply"
    ]


def test_only_two_functions_apply_a_model():
    # Augmentations in the data room have an `apply` of their own; no model goes there.
    # `repeat` applies one block, within the net's own forward pass.
    allowed = ("cnnjax/models/forward.py", "cnnjax/layers/repeat.py")
    for file in files("cnnjax", "experiments"):
        if room_of_file(file) != "data" and file not in allowed:
            lines = [call.lineno for call in apply_calls(parse(file))]
            assert not lines, f"{file} calls .apply in lines {lines}"
    functions = [
        node
        for node in parse("cnnjax/models/forward.py").body
        if isinstance(node, ast.FunctionDef) and apply_calls(node)
    ]
    assert len(functions) == 2


def test_the_step_knows_no_config():
    rooms = {room_of(dotted) for dotted in imports("cnnjax/train/step.py")}
    assert "config" not in rooms


def test_judging_and_reporting_need_no_jax():
    code = f"import sys, {', '.join(FREE_OF_JAX)}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("folders", "most_lines"),
    [
        (("cnnjax", "configs", "experiments", "tests", "benchmarks"), 400),
        (("experiments",), 80),
    ],
)
def test_files_are_short(folders, most_lines):
    for file in files(*folders):
        num_lines = len((ROOT / file).read_text().splitlines())
        assert num_lines <= most_lines, f"{file} has {num_lines} lines"


def test_recipes_are_short():
    for path in (ROOT / "configs").glob("*.py"):
        if path.name != "base.py":
            num_lines = len(path.read_text().splitlines())
            assert num_lines <= 60, f"{path.name} has {num_lines} lines"


def test_no_file_is_a_drawer_for_everything():
    names = {Path(file).name for file in files("cnnjax", "configs", "experiments")}
    assert not names & {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}


def test_every_program_shows_an_example():
    for file in files("experiments"):
        if not file.endswith("__init__.py"):
            verb = Path(file).stem
            docstring = ast.get_docstring(parse(file)) or ""
            assert f"./launch.sh {verb}" in docstring, f"{file}: no example for help"
