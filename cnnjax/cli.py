"""The start of every program: checks flags, prints errors, sets the exit code.

0 is success, 2 a mistake of the user or a machine without space or permission, 1 a
failed run, 128 + n an interruption by signal n.
"""

import os
import re
import signal
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from absl import flags, logging
from ml_collections import ConfigDict

from cnnjax.config import check_kind, check_tuples, flatten, override, wrong_type
from cnnjax.errors import (
    OF_MACHINE,
    UserError,
    near_matches,
    printable,
    remedy,
    shown,
)
from cnnjax.interrupt import end_with_parent
from cnnjax.recipes.flags import resolve_recipe
from cnnjax.screen import lost_text, outlive_readers
from cnnjax.texts import sentence

_OUT_OF_MEMORY = (
    "there is not enough memory; what was saved is not lost: free some, or take fewer "
    "--jobs, fewer seeds or more config.train.microbatches, and run the command again"
)
MOST_FLAG_CHARACTERS = 100  # no flag and no config key has as many
HELP = {"--help", "-h", "-help"}

# The flags below belong to the programs that define them, not to this module.
flags.disclaim_key_flags()


def define_parallel_flags() -> None:
    """Defines the flags of programs that train on several devices or processes."""
    flags.DEFINE_string(
        "parallel.mode", None, "jit, shard_map or pmap; the results are the same."
    )
    flags.DEFINE_string(
        "parallel.layout",
        None,
        "Devices for the seeds and for each batch, such as seed=4,data=2; or auto.",
    )
    flags.DEFINE_integer(
        "parallel.devices", None, "Number of devices to use; 0 for all."
    )
    flags.DEFINE_string(
        "coordinator",
        "",
        "host:port of process 0, if the cluster does not set it (see docs/scaling.md).",
    )
    flags.DEFINE_integer(
        "num_processes", None, "Number of processes that train together."
    )
    flags.DEFINE_integer("process_id", None, "Number of this process, from 0.")


def define_launch_flags() -> None:
    """Defines the flags of programs that train many cells: where, and how many."""
    flags.DEFINE_string("data_dir", "", "Folder of prepared data sets.")
    flags.DEFINE_multi_string(
        "set",
        [],
        "Config key for all arms, as --set=train.epochs=4; may be repeated.",
    )
    flags.DEFINE_integer(
        "jobs",
        0,
        "Cells (an arm with its seeds) at a time; 0 for one per CPU core or "
        "accelerator; with an accelerator, inline trains one.",
        lower_bound=0,
    )
    flags.DEFINE_string(
        "launcher",
        "inline",
        "inline, local (a process per cell) or slurm (a job per cell).",
    )
    flags.DEFINE_string(
        "launcher_options", "", "For slurm: partition=gpu,time=4:00:00,gpus=1,cpus=8."
    )
    flags.DEFINE_bool("wait", True, "With slurm: wait for all cells and report.")


def define_view_flags() -> None:
    """Defines the flags of programs that evaluate: what nets see of each image."""
    flags.DEFINE_bool("flip", None, "Average each image and its mirror image.")
    flags.DEFINE_string("crops", None, "whole, centre, or five (corners and centre).")
    flags.DEFINE_integer("crop_size", None, "Side of crops; 0 for that of images.")
    flags.DEFINE_list("scales", None, "Factors of their size for images.")


def views() -> dict[str, Any]:
    """The values of the flags of `define_view_flags` that were given."""
    names = ("flip", "crops", "crop_size", "scales")
    values: dict[str, Any] = {name: flags.FLAGS[name].value for name in names}
    given = {name: value for name, value in values.items() if value is not None}
    if "scales" in given:
        try:
            given["scales"] = tuple(map(float, given["scales"]))
        except ValueError as error:
            words = shown(",".join(given["scales"]))
            raise UserError(f"--scales takes factors as 1,1.25, not {words}") from error
    return given


def define_fold_flags() -> None:
    """Defines the flags of programs that cross-validate."""
    flags.DEFINE_integer(
        "folds", 0, "Of cross-validation; 0 for the splits of the recipe.", 0
    )
    flags.DEFINE_bool(
        "then_all", False, "After --folds: train once more, on what all folds have."
    )


def folds() -> tuple[int, bool]:
    """The values of the flags of `define_fold_flags`."""
    num: Any = flags.FLAGS["folds"].value
    then_all: Any = flags.FLAGS["then_all"].value
    if num == 1 or (then_all and not num):
        raise UserError(
            f"--folds is {num}: give 2 or more, or 0 for none, without --then_all"
        )
    return num, then_all


def launching() -> dict[str, Any]:
    """The values of the launch flags, as arguments of `train_cells`."""
    names = ("jobs", "launcher", "launcher_options", "wait")
    return {name: flags.FLAGS[name].value for name in names}


def parallel_changes() -> dict[str, Any]:
    """The config keys that the flags of `define_parallel_flags` set."""
    given = {f"parallel.{key}": None for key in ("mode", "layout", "devices")}
    values = {name: flags.FLAGS[name].value for name in given}
    return {name: value for name, value in values.items() if value is not None}


def processes() -> dict[str, Any]:
    """The arguments of `devices.distributed.joined`."""
    return {
        "coordinator": flags.FLAGS["coordinator"].value,
        "num": flags.FLAGS["num_processes"].value,
        "index": flags.FLAGS["process_id"].value,
    }


def run(main: Callable[[], int | None], *, only_prints: bool = False) -> None:
    """Parses the flags and runs a program.

    Args:
      main: takes nothing (it reads its flags) and returns an exit code or None.
      only_prints: its one result is its text, so that losing some is a failure.
    """
    # Warnings of libraries do not help the user.
    logging.set_verbosity(logging.ERROR)
    # Who starts us may ignore it, and then nobody learns how our children end.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    outlive_readers()
    end_with_parent()
    if HELP & set(sys.argv[1:]):
        print(help_text())
        sys.exit(_code_of_text())
    try:
        parse(sys.argv)
        code = main()
    except UserError as error:
        _tell(error)
        code = 2
    except OSError as error:
        if error.errno not in OF_MACHINE:
            raise
        _tell(machine_error(error))
        code = 2
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        _tell(_OUT_OF_MEMORY)
        code = 2
    except KeyboardInterrupt:
        code = 130
    except SystemExit as error:  # which could say 0 for work that was not done
        raise RuntimeError("a part of the program asked it to end") from error
    if only_prints and not code:
        code = _code_of_text()
    sys.exit(code or 0)


def _code_of_text() -> int:
    """0 if all that was printed could be written, or its reader ended; 2 if not."""
    if (lost := lost_text()) is None:
        return 0
    why = lost.strerror or str(lost)
    _tell(
        f"the output is cut off ({why}): send it elsewhere, and run the command again"
    )
    return 2


def _tell(error: object) -> None:
    print(f"error: {sentence(error)}", file=sys.stderr)


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python or XLA found no memory; XLA says so in its message only."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def machine_error(error: OSError) -> str:
    """One sentence about an error of the machine that no other place has put in words.

    Args:
      error: its number is in `OF_MACHINE`.
    """
    # What has no name is no file of ours.
    what = error.filename or "a file, or the shared memory in /dev/shm"
    return (
        f"cannot read or write {printable(what)}: {error.strerror or error}; finished "
        f"results are not lost: {remedy(error)}, and run the command again"
    )


def help_text() -> str:
    """The docstring of the program, and its flags with their defaults."""
    program = sys.modules["__main__"].__doc__ or ""
    lines = [program.strip(), "", "Flags:"]
    for flag in flags.FLAGS.get_flags_for_module(sys.argv[0]):
        if flag.flag_type() == "config_dict":
            continue  # its keys are those of configs/base.py
        default = "" if flag.default in (None, "", []) else f" [{flag.default}]"
        lines.append(f"  --{flag.name}{default}")
        text = " ".join(flag.help.split(";\n    repeat this")[0].split())
        lines += textwrap.wrap(
            text, 88, initial_indent=" " * 6, subsequent_indent=" " * 6
        )
    return "\n".join(lines)


def parse(argv: list[str]) -> None:
    """Parses the command line.

    Raises:
      UserError: an unknown flag, an unexpected argument, a config key that does not
        exist, or a value of the wrong type.
    """
    argv = [argv[0], *map(_at_home, argv[1:])]
    for word in argv[1:]:
        name = word.lstrip("-").partition("=")[0]
        # Of such a name absl makes a deep recursion.
        if word.startswith("-") and len(name) > MOST_FLAG_CHARACTERS:
            raise _unknown_flag(name)
    argv, recipe, nones = resolve_recipe(argv)
    try:
        rest = flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        raise _unknown_flag(error.flagname) from error
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise _wrong_value(str(error), recipe) from error
    if len(rest) > 1:
        raise UserError(
            f"unexpected argument {shown(rest[1])}: options are written --name=value"
        )
    if recipe is not None:
        config: Any = flags.FLAGS["config"].value
        for key, value in flatten(config).items():
            check_kind(recipe, key, value)
        override(config, dict.fromkeys(nones))
        check_tuples(flatten(recipe), flatten(config))


def _at_home(word: str) -> str:
    """Expands `~` after '=', where the shell does not.

    Raises:
      UserError: there is no such user.
    """
    # Also in --set=data.data_dir=~/data.
    match = re.fullmatch(r"(--?[\w.]+=(?:[\w.]+=)?)?(~.*)", word, re.DOTALL)
    if match is None:
        return word
    name, path = match[1] or "", match[2]
    home = os.path.expanduser(path)
    if home.startswith("~"):
        raise UserError(
            f"{word}: the home folder of {path.split('/')[0]} is not known; write the "
            f"full path, or ./{path} for a folder of that name"
        )
    return name + home


def _unknown_flag(name: str) -> UserError:
    close = near_matches(name, flags.FLAGS)
    hint = f": did you mean {' or '.join(f'--{c}' for c in close)}?" if close else ""
    if name.startswith("config.") and "set" in flags.FLAGS:
        key = name.removeprefix("config.")
        hint = f" (for all arms of an ablation write --set={key}=VALUE)"
    if name == "set" and "config" in flags.FLAGS:
        hint = " (for one training write --config.KEY=VALUE)"
    flag = sentence(name, MOST_FLAG_CHARACTERS)
    return UserError(f"unknown flag --{flag}{hint}; --help lists all flags")


def _wrong_value(text: str, recipe: ConfigDict | None) -> UserError:
    """Rewrites the errors of absl and ml_collections about a bad value."""
    match = re.match(r"flag --([\w.]+)=(.*?): ", text, re.DOTALL)
    if match is None:
        return UserError(" ".join(text.split()))
    name, value = match.groups()
    if name.startswith("config.") and recipe is not None:
        return wrong_type(recipe, name.removeprefix("config."), value)
    wanted = flags.FLAGS[name].parser.syntactic_help or "true or false"
    return UserError(f"--{name} takes {wanted}, not {shown(value)}; --help explains it")
