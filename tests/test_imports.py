"""The rules of `docs/design.md` about who may know whom, enforced on the source."""

import ast
import functools
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = {"layers", "layers/functional"}
# What the files of a folder, or one file, import of ours besides their own folder: no
# less and no more. Files belong to the deepest folder that is named here.
FOLDERS = {
    "texts": set(),
    "errors": {"texts"},
    "files": {"errors"},
    "names": {"errors"},
    "shard": set(),
    "cache": set(),
    "process": set(),
    "screen": {"texts", "errors"},
    "interrupt": set(),
    "schema": {"names", "errors"},
    "record_kinds": {"schema", "errors"},
    "records": {"record_kinds", "schema", "files", "errors"},
    "seal": {"records", "files"},
    "lock": {"files", "process", "records", "screen", "errors"},
    "definitions": {"errors"},
    "config": {"definitions", "errors"},
    "start": {"config", "files", "record_kinds", "records", "errors"},
    "recipes": {"config", "definitions", "data", "models", "screen", "errors"},
    "cli": {"config", "recipes", "interrupt", "screen", "texts", "errors"},
    "onednn": {"cache", "process", "records", "screen", "errors"},
    "layers/functional": {"onednn", "shard", "errors"},
    "layers": {"layers/functional", "shard", "errors"},
    "models/blocks": {*LAYERS, "errors"},
    "models": {"models/blocks", *LAYERS, "errors"},
    "net": {"models/blocks", *LAYERS, "shard", "errors"},
    "data": {"shard", "cache", "files", "lock", "screen", "texts", "errors"},
    "training": {"data", "net", "shard", "errors"},
    "devices": {"layers/functional", "shard", "cache", "files", "records", "errors"},
    "probes": {"training", "net", "layers", "views", "errors"},
    "analysis": {"net", "models", *LAYERS, "errors"},
    "views": {"analysis", "devices", "net", "errors"},
    "interop": {"net", "models", "models/blocks", "layers", "errors", "files"},
    "ablation/define": {"names", "schema", "errors"},
    "ablation/seeds": {"errors"},
    "ablation/plan": {
        *("ablation/define", "ablation/seeds", "config", "definitions", "start"),
        *("record_kinds", "records", "errors"),
    },
    "ablation/judge": {
        *("ablation/define", "files", "schema", "record_kinds", "records", "seal"),
        *("texts", "errors"),
    },
    "ablation/report": {
        *("ablation/define", "ablation/plan", "ablation/judge", "ablation/execute"),
        *("config", "files", "lock", "names", "record_kinds", "records", "schema"),
        *("screen",),
        *("texts", "errors"),
    },
    "ablation/atlas": {
        *("ablation/plan", "ablation/report"),
        *("interrupt", "process", "record_kinds", "records", "screen", "errors"),
    },
}
OF_PROGRAMS = ("cli", "recipes")
# These put the others together.
ASSEMBLERS = {
    "run": {
        f for f in FOLDERS if not f.startswith("ablation") and f not in OF_PROGRAMS
    },
    "studies": {
        *(f for f in FOLDERS if not f.startswith("ablation") and f not in OF_PROGRAMS),
        *("run", "ablation/report", "views/drawing"),
    },
    "ablation/execute": {
        *(f for f in FOLDERS if f not in ("ablation/report", "ablation/atlas")),
        "run",
    }
    - {*OF_PROGRAMS},
    "api": {
        *(f for f in FOLDERS if f not in ("cli", "ablation/atlas")),
        *("run", "ablation/execute"),
    },
}
# Pictures of the views: in the style of the reports, which put together as much.
FOLDERS |= ASSEMBLERS | {"views/drawing": {"views", "analysis", "ablation/report"}}
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


def folder_of(dotted):
    """'layers' for 'cnnjax.layers.norm'; None if it is not ours.

    What the package offers its users, such as `cnnjax.load_run`, is in 'cnnjax', which
    no file of ours may import.
    """
    parts = dotted.split(".")
    if parts[0] != "cnnjax":
        return None
    for end in range(len(parts), 1, -1):
        if (folder := "/".join(parts[1:end])) in FOLDERS:
            return folder
    return "cnnjax"


def module_of(file):
    """'cnnjax.layers.norm' for 'cnnjax/layers/norm.py'."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_every_folder_is_in_the_table():
    for file in set(files("cnnjax")) - {"cnnjax/__init__.py"}:
        if file != "cnnjax/ablation/__init__.py":  # it imports nothing
            assert folder_of(module_of(file)) in FOLDERS, f"{file}: add it to FOLDERS"


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_import_what_they_may(folder):
    found = set()
    for file in files("cnnjax"):
        if folder_of(module_of(file)) == folder:
            used = {folder_of(dotted) for dotted in imports(file)} - {None, folder}
            wrong = used - FOLDERS[folder]
            assert not wrong, f"{file} must not import {sorted(wrong)}"
            found |= used
    unused = set() if folder in ASSEMBLERS else FOLDERS[folder] - found
    assert not unused, f"{folder} no longer imports {sorted(unused)}: forbid it"


def test_folders_import_one_way():
    graphlib.TopologicalSorter(FOLDERS).prepare()  # names the circle, if there is one


def test_no_imports_in_a_circle():
    modules = {module_of(file): file for file in files("cnnjax")}
    edges = {}
    for module, file in modules.items():
        # 'from package import module' and 'from module import name' look alike.
        tried = [(d, d.rpartition(".")[0]) for d in imports(file)]
        found = {next((m for m in pair if m in modules), None) for pair in tried}
        edges[module] = found - {None, module}
    order = graphlib.TopologicalSorter(edges)
    order.prepare()  # names the circle, if there is one


def test_folders_are_small():
    for folder in {Path(file).parent for file in files("cnnjax")}:
        num_files = len(list((ROOT / folder).glob("[!_]*.py")))
        most = 100 if folder.name == "models" else 17
        assert num_files <= most, f"{folder} has {num_files} files: divide it"


def test_nothing_imports_the_programs_and_the_package_imports_no_config():
    for file in files("cnnjax", "configs"):
        tops = {dotted.split(".")[0] for dotted in imports(file)}
        assert "experiments" not in tops, file
        assert "configs" not in tops or file.startswith("configs/"), file


def test_configs_import_descriptions_only():
    for file in files("configs"):
        used = {folder_of(dotted) for dotted in imports(file)} - {None}
        assert used <= {"config", "models", "ablation/define"}, file


def test_no_other_framework():
    # Torch's own files are read and written by torch alone; only then is it imported.
    for file in files("cnnjax", "configs", "experiments"):
        allowed = {"torch"} if file.startswith("cnnjax/interop/files/") else set()
        tops = {dotted.split(".")[0] for dotted in imports(file)}
        assert not (tops - allowed) & FOREIGN_FRAMEWORKS, file
        assert not any("flax.metrics" in dotted for dotted in imports(file)), file


def test_only_devices_names_what_runs_on_devices():
    for file in files("cnnjax", "experiments"):
        if not file.startswith("cnnjax/devices/"):
            found = (PARALLEL_NAMES | ACROSS_DEVICES) & set(identifiers(file))
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
    # Augmentations have an `apply` of their own. A layer applies the blocks that it
    # scans, within the forward pass of the net.
    others = ("cnnjax/net/", "cnnjax/layers/", "cnnjax/data/")
    for file in files("cnnjax", "experiments"):
        if not file.startswith(others):
            lines = [call.lineno for call in apply_calls(parse(file))]
            assert not lines, f"{file} calls .apply in lines {lines}"
    functions = [
        node
        for node in parse("cnnjax/net/forward.py").body
        if isinstance(node, ast.FunctionDef) and apply_calls(node)
    ]
    assert len(functions) == 2


def test_judging_and_reporting_need_no_jax():
    modules = ["cnnjax.config", "cnnjax.records", "cnnjax.definitions"]
    modules += map(module_of, files("cnnjax/ablation"))
    modules = [m for m in modules if not m.startswith("cnnjax.ablation.execute")]
    code = f"import sys, {', '.join(modules)}; sys.exit('jax' in sys.modules)"
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
        if path.name not in ("base.py", "generic.py"):
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
