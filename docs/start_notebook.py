"""Prepares the folder in which the cells of a tutorial run; imported by its first cell.

`./launch.sh VERB` works there as in a clone, with the Python of the kernel, so that
nothing is set up twice.
"""

import os
import subprocess
import sys
from pathlib import Path

from IPython.core.magic import register_cell_magic

ROOT = Path(__file__).resolve().parents[1]

launcher = Path("launch.sh")
launcher.write_text(
    "#!/bin/sh\nverb=$1\nshift\n"
    f'exec "{sys.executable}" -P -m "experiments.$verb" "$@" 2>&1\n'
)
launcher.chmod(0o755)
# Plain text of one width, on pages of that width; no fonts to look for.
os.environ.update(TERM="dumb", COLUMNS="100", NO_COLOR="1", MPLBACKEND="Agg")


@register_cell_magic
def bash(line, cell):
    """As IPython's, which prints in pieces of 100 bytes: they would break lines."""
    ended = subprocess.run(
        ["bash", "-e", "-c", cell],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    print(ended.stdout)
    ended.check_returncode()
