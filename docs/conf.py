"""Configuration of the documentation, for Sphinx."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mri_transfer.version import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "mri-transfer"
author = "The mri-transfer developers"
copyright = "The mri-transfer developers, MIT licence"
release = version = __version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "reference_pages",
]
exclude_patterns = ["_build", "_ext", "**.ipynb_checkpoints"]
templates_path = ["_templates"]

# Pages need no network: furo brings its fonts, styles and scripts along.
html_theme = "furo"
html_title = f"mri-transfer {release}"
html_static_path = ["_static"]
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Tutorials are executed when they are built; a cell that fails ends the build.
nb_execution_mode = os.environ.get("MRI_TRANSFER_TUTORIALS", "force")
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 900
nb_merge_streams = True
# All tutorials work in one folder, made anew by `make docs`.
os.environ.setdefault("TUTORIALS", str(Path(__file__).parent / "_build" / "tutorials"))
os.environ.setdefault("MRI_TRANSFER_CACHE", str(Path(os.environ["TUTORIALS"]) / "cache"))
# The command of the environment that builds the pages.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

autodoc_typehints = "none"  # numpydoc's sections hold the types
autodoc_member_order = "bysource"
autosummary_generate = True
numpydoc_show_class_members = False
