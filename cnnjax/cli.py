"""How every program starts: flags checked, errors in one sentence, exit codes.

0 is success, 2 a mistake in what was given, 1 a failed training, 128 + n a signal n.
"""

import errno
import os
import sys
from collections.abc import Callable

from absl import flags, logging

from cnnjax.config import explain_flag_error, recipe_path
from cnnjax.errors import UserError


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags and runs a program.

    Args:
      main: takes nothing (it reads its flags) and returns an exit code or None.
    """
    # Libraries log at warning level what is of no use to the person in front.
    logging.set_verbosity(logging.ERROR)
    try:
        parse(sys.argv)
        code = main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except BrokenPipeError:
        # The reader of our output went away (as `| head` does): not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        print(
            f"error: cannot write {error.filename or 'a file'}: {error.strerror}; "
            "nothing that was finished is lost: free the space or choose another "
            "--workdir, and start again",
            file=sys.stderr,
        )
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code or 0)


def parse(argv: list[str]) -> None:
    """Parses the command line.

    Raises:
      UserError: an unknown flag, a stray word, a config key that does not exist, or a
        value of the wrong type.
    """
    argv, recipe = _resolve_recipe(argv)
    try:
        rest = flags.FLAGS(argv)
    except UserError:
        raise
    except flags.UnrecognizedFlagError as error:
        raise UserError(_unknown_flag(error)) from error
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(explain_flag_error(str(error), recipe)) from error
    if len(rest) > 1:
        raise UserError(
            f"unexpected argument {rest[1]!r}: options are written --name=value"
        )


def _resolve_recipe(argv: list[str]) -> tuple[list[str], str | None]:
    """Turns --config=NAME into the path of the recipe, from wherever it is called."""
    resolved, recipe = [], None
    for word in argv:
        if word.startswith("--config="):
            recipe = str(recipe_path(word.split("=", 1)[1]))
            word = f"--config={recipe}"
        resolved.append(word)
    return resolved, recipe


def _unknown_flag(error: flags.UnrecognizedFlagError) -> str:
    hint = ""
    if error.flagname.startswith("config."):
        hint = " (it must come after --config=configs/NAME.py)"
    elif error.suggestions:
        hint = f": did you mean {' or '.join('--' + s for s in error.suggestions)}?"
    return f"unknown flag --{error.flagname}{hint}; --help lists all flags"
