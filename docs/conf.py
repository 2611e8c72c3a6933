"""Configuration of the documentation."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.append(str(Path(__file__).parent))

project = "trireme-collector"
author = "The trireme-collector maintainers"
project_copyright = "The trireme-collector maintainers, Apache-2.0"
release = importlib.metadata.version("trireme-collector")
version = ".".join(release.split(".")[:2])

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "pictures",
    "reference_tables",
    "snippets",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
default_role = "py:obj"
highlight_language = "none"
nitpicky = False  # names of the standard library would need its inventory, and so the network

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pictures.css"]
html_title = f"trireme-collector {release}"


def _skip(_app: Sphinx, _kind: str, name: str, member: object, *_: object) -> bool | None:
    """Leave out what the class docstring has said: fields of a Struct, and how it is built."""
    is_field = type(member).__name__ == "member_descriptor"
    return True if is_field or name in {"__init__", "__new__"} else None


def setup(app: Sphinx) -> None:
    """Connect what the configuration values cannot say."""
    app.connect("autodoc-skip-member", _skip)
