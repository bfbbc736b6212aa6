"""Files of definitions, recipes and ablations: found by name or path, and run."""

import importlib.util
import os
import pathlib
import re
import traceback
from typing import Any

from cnnjax.errors import UserError, near_matches, unknown_name


def definition_path(
    name: str, folders: tuple[str, ...], what: str, where: str
) -> pathlib.Path:
    """A file of definitions: one of ours, given by name, or any, given by path.

    What has a slash or ends in '.py' is a path, seen from where the program was
    started. The folders of ours may stand in front of a name, as the docs write it,
    unless there are such folders where the program was started.

    Args:
      name: of the file, with or without '.py'.
      folders: where ours lie, below the repository.
      what: the kind of thing defined, for the message.
      where: what sets it, for the message.

    Raises:
      UserError: no such file; near matches are named.
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
    around = path.parent.glob("*.py") if os.path.isdir(path.parent) else ()
    near = [str(pathlib.Path(*before, file.name)) for file in around]
    if not is_path:
        raise unknown_name(what, name, [*ours, *near] if name else ours, where)
    close = near_matches(name, [*near, *ours]) or near_matches(stem, ours)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    seen = "" if path.is_absolute() else f" seen from {os.getcwd()}"
    names = "" if close else f": {', '.join(ours)}"
    raise UserError(
        f"no file {name!r}{seen}: {hint}give the path of a file, or a name of "
        f"{'/'.join(folders)}/{names} (set by {where})"
    )


def named_definitions(folders: tuple[str, ...]) -> dict[str, pathlib.Path]:
    """Name -> file of all definitions of ours in one folder, sorted by name."""
    spec = importlib.util.find_spec(folders[0])
    root = pathlib.Path(next(iter(spec.submodule_search_locations)))
    files = root.joinpath(*folders[1:]).glob("[!_]*.py")
    return {path.stem: path for path in sorted(files) if path.stem != "base"}


def definition(path: pathlib.Path, function: str, kind: type) -> Any:
    """Runs a Python file of definitions and gives what one function in it returns.

    Args:
      path: the file.
      function: name of a function without arguments.
      kind: what it must return.

    Raises:
      UserError: the file raises, or has no such function; names the line.
    """
    spec = importlib.util.spec_from_file_location(f"cnnjax_file_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        build = getattr(module, function, None)
        value = build() if callable(build) else None
    except UserError as error:
        raise UserError(f"{path}, line {_line(error, path)}: {error}") from error
    # Whatever a person's own code raises; the line is what they need.
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).replace("\\n", " ").split()).strip("'")
        # ml_collections lists all keys of the section before it says what is near.
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


def _line(error: Exception, path: pathlib.Path) -> int | str:
    """Number of the line of a file that raised."""
    if isinstance(error, SyntaxError):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if f.filename == str(path.absolute())]
    return lines[-1] if lines else "?"
