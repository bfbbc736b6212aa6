"""Prepares the folder in which the cells of a tutorial run; imported by its first cell.

`./launch.sh VERB` works there as in a clone, with the Python of the kernel, so that
nothing is set up twice.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

launcher = Path("launch.sh")
launcher.write_text(
    "#!/bin/sh\nverb=$1\nshift\n"
    f'exec "{sys.executable}" -P -m "experiments.$verb" "$@" 2>&1\n'
)
launcher.chmod(0o755)
# Plain text of one width, on pages of that width; no fonts to look for.
os.environ.update(TERM="dumb", COLUMNS="100", NO_COLOR="1", MPLBACKEND="Agg")
