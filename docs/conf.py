"""Settings of the documentation site: `./launch.sh docs` builds it, without a network.

Pages are Markdown, which GitHub shows as well. Those in `tutorials/` are notebooks of
MyST-NB: their cells run in a folder of their own, made by `start_notebook.py`.
"""

import importlib
import os
import sys
from pathlib import Path

from sphinx.util import logging

logger = logging.getLogger(__name__)

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))
# Kernels find the package and the helper of notebooks.
known = [str(ROOT), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
os.environ["PYTHONPATH"] = os.pathsep.join(known)
os.environ["CNNJAX_ROOT"] = str(ROOT)

project = "cnnjax"
author = "The authors of cnnjax"
html_title = "cnnjax"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
source_suffix = {".md": "myst-nb"}
exclude_patterns = ["benchmarks", "cluster"]
nitpicky = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
# Tutorials alone have cells; `cache` runs those again whose cells have changed.
nb_execution_mode = os.environ.get("CNNJAX_NOTEBOOKS", "force")
nb_execution_timeout = 240
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_merge_streams = True
suppress_warnings = ["myst-nb.lexer"]  # of cells, where none is run

default_role = "code"
autodoc_typehints = "none"  # signatures stay short; docstrings have the shapes
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shapes", "Units", "Source", "Deviations"]

# Of one file, without fonts or scripts from elsewhere.
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

# Modules of the API pages; every name in their `__all__` must be on one of the pages.
PUBLIC = (
    "cnnjax",
    "cnnjax.analysis",
    "cnnjax.interop",
    "cnnjax.views",
    "cnnjax.ablation.define",
)


def require_every_public_name(app, env):
    """Warns, which ends the build, of names that no page of the API describes."""
    described = env.get_domain("py").objects
    for module in map(importlib.import_module, PUBLIC):
        names = {f"{module.__name__}.{name}" for name in module.__all__}
        for name in sorted(names - described.keys() - set(PUBLIC)):
            value = getattr(module, name.rpartition(".")[2])
            if callable(value) or not isinstance(value, (tuple, dict, str)):
                logger.warning("%s is public, but on no page of docs/api", name)


def setup(app):
    app.connect("env-check-consistency", require_every_public_name)
