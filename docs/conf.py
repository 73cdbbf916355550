"""Sphinx builds the documentation with this: `make docs` writes HTML to build/docs."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import routestat  # noqa: E402

project = "routestat"
author = "The routestat developers"
copyright = "The routestat developers, Apache-2.0"
release = version = routestat.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "generated_pages",
]
exclude_patterns = ["jobs"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# The reference lists attributes in the docstrings of the classes; types of arguments are in the signatures.
autosummary_generate = False
numpydoc_show_class_members = False
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
# Types of other packages and local aliases have no page here, and no network is used to look for one.
nitpick_ignore_regex = [("py:.*", r".*")]

html_theme = "pydata_sphinx_theme"
html_title = "routestat"
html_static_path = ["static"]
html_css_files = ["routestat.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {
    page: [] for page in ("index", "glossary", "changelog", "contributing", "generated/commands/index")
}
