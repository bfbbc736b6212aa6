"""Finds the files of recipes and ablations by name or path, and runs them."""

import contextlib
import importlib.util
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from cnnjax.errors import UserError, near_matches, unknown_name

PACKAGE = "configs"  # by this name our recipes import each other
NO_NAMES = ("base", "generic")  # files there that are no recipe by themselves
# Our modules of that name, while another package has it.
_aside: dict[str, ModuleType] = {}


def definition_path(
    name: str, folders: tuple[str, ...], what: str, where: str
) -> pathlib.Path:
    """A file of definitions: one of ours given by name, or any file given by path.

    A name with a slash or with the ending '.py' is a path, relative to the current
    folder. Our folders may precede a name, as in the docs, unless the current folder
    has folders of the same names.

    Args:
      name: of the file, with or without '.py'.
      folders: of our files, below the repository.
      what: the kind of definition, for the message.
      where: the flag or key that sets it, for the message.

    Returns:
      The path of the file.

    Raises:
      UserError: there is no such file; the message lists near matches.
    """
    ours = named_definitions(folders)
    path = pathlib.Path(os.path.expanduser(name))
    before, stem = path.parts[:-1], path.name.removesuffix(".py")
    is_path = "/" in name or name.endswith(".py")
    for file in (path, path.with_name(f"{path.name}.py")) if is_path else ():
        if os.path.isfile(file):
            if file.suffix != ".py":
                raise UserError(f"{what} file {name!r} must end in .py ({where})")
            return file
    as_documented = before == folders and not os.path.isdir(folders[0])
    if stem in ours and (as_documented or not before) and not name.startswith("."):
        return ours[stem]
    neighbours = path.parent.glob("*.py") if os.path.isdir(path.parent) else ()
    near = [str(pathlib.Path(*before, file.name)) for file in neighbours]
    if not is_path:
        raise unknown_name(what, name, [*ours, *near] if name else ours, where)
    close = near_matches(name, [*near, *ours]) or near_matches(stem, ours)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    seen = "" if path.is_absolute() else f" seen from {os.getcwd()}"
    names = "" if close else f": {', '.join(ours)}"
    raise UserError(
        f"no file {name!r}{seen}: {hint}give the path of a file, or a name from "
        f"{'/'.join(folders)}/{names} (set by {where})"
    )


def named_definitions(folders: tuple[str, ...]) -> dict[str, pathlib.Path]:
    """Name -> file of all our definitions in one folder, sorted by name.

    Empty where the package is installed without its recipes.
    """
    root = our_folder()
    if root is None:
        return {}
    files = root.joinpath(*folders[1:]).glob("[!_]*.py")
    return {path.stem: path for path in sorted(files) if path.stem not in NO_NAMES}


def our_folder() -> pathlib.Path | None:
    """`configs/` of the repository, or the copy in an installed package."""
    package = pathlib.Path(__file__).parent
    for folder in (package / "_configs", package.parent / PACKAGE):
        if (folder / "base.py").is_file():
            return folder
    return None


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """Within, `configs` is our folder, whatever else has that name."""
    root = our_folder()
    spec = importlib.util.find_spec(PACKAGE)
    found = spec.submodule_search_locations if spec else None
    if root is None or (found and pathlib.Path(next(iter(found))) == root):
        yield
        return
    theirs = _take_away()
    sys.modules.update(_aside)
    if PACKAGE not in _aside:
        ours = importlib.util.spec_from_file_location(
            PACKAGE, root / "__init__.py", submodule_search_locations=[str(root)]
        )
        assert ours is not None
        sys.modules[PACKAGE] = importlib.util.module_from_spec(ours)
    try:
        yield
    finally:
        _aside.update(_take_away())
        sys.modules.update(theirs)


def _take_away() -> dict[str, ModuleType]:
    """Removes `configs` and what is in it from the modules that are loaded."""
    names = [n for n in sys.modules if n == PACKAGE or n.startswith(f"{PACKAGE}.")]
    return {name: sys.modules.pop(name) for name in names}


def definition(path: pathlib.Path, function: str, kind: type, *arguments: Any) -> Any:
    """Runs a Python file of definitions and returns the value of a function in it.

    Args:
      path: the file.
      function: name of a function.
      kind: the type that it must return.
      *arguments: of the function.

    Returns:
      The value.

    Raises:
      UserError: the file raises (the message has the line), or lacks that function.
    """
    spec = importlib.util.spec_from_file_location(f"cnnjax_file_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        with _importable():
            spec.loader.exec_module(module)
            build = getattr(module, function, None)
            value = build(*arguments) if callable(build) else None
    except UserError as error:
        raise UserError(f"{path}, line {_line(error, path)}: {error}") from error
    # The user's code may raise anything; the line tells them where.
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).replace("\\n", " ").split()).strip("'")
        # ml_collections lists all keys of the section before the near matches.
        text = re.sub(r"Other fields present: .*(?=Did you mean)", "", text)
        text = text.replace(". ", "; ")
        raise UserError(
            f"{path} cannot be used: {type(error).__name__} in line "
            f"{_line(error, path)}: {text}"
        ) from error
    if not callable(build):
        raise UserError(f"{path} defines no function {function}()")
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise UserError(
            f"{function}() of {path} returns a {type(value).__name__}, not {article} "
            f"{kind.__name__}"
        )
    return value


def _line(error: BaseException, path: pathlib.Path) -> int | str:
    """Number of the line of a file that raised; '?' if unknown."""
    if isinstance(error, SyntaxError):
        return error.lineno or "?"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if f.filename == str(path.absolute())]
    return (lines and lines[-1]) or "?"
