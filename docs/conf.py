"""How the documentation is built: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

import onyxrank

sys.path.insert(0, str(Path(__file__).parent))

project = "onyxrank"
release = version = onyxrank.__version__
project_copyright = "the onyxrank authors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "build_hooks"]
exclude_patterns = ["_build", "_generated"]

html_theme = "furo"
html_title = "onyxrank"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072b2", "color-brand-content": "#0072b2"},
    "dark_css_variables": {"color-brand-primary": "#56b4e9", "color-brand-content": "#56b4e9"},
}
pygments_style = "friendly"

# Links between pages are those that work where the files themselves are read: `[text](train.md#resume)`.
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {name: name for name in ("History", "ItemLike", "Items")}
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# A name in single backticks is a link where it is documented, and code where it is not (a parameter, say).
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", ".*"),
    # Of other projects, whose documentation cannot be read while this is built.
    ("py:.*", r"(collections\.abc|numpy|os|typing)\..*"),
    # The help of an option stands beside its type.
    ("py:class", r"types\.Annotated"),
    # A table is one of three libraries', and the variables stand for one's own.
    ("py:class", r".*(ItemT|TableT|request\.tables\.Table)"),
]
