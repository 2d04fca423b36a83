"""Sphinx for biasvar: tutorials and a gallery that run, the guides as they are, and a page for each public name.

From the top of a checkout, without a network: ``sphinx-build -W -n --keep-going -j auto docs docs/_build``.
"""

import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "site")]

import maths  # noqa: E402
import pages  # noqa: E402

import biasvar  # noqa: E402

os.environ["DASK_SCHEDULER"] = "threads"  # workers of their own would import Sphinx as their main script
os.environ["COLUMNS"] = "120"
for part in ("plot", "animate"):  # attributes of the package, which autodoc asks for as if they were modules
    sys.modules[f"biasvar.{part}"] = getattr(biasvar, part)
pages.write(HERE.parent)

project, author, release = "biasvar", "the biasvar developers", biasvar.__version__
project_copyright = "the biasvar developers"
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
myst_heading_anchors = 3
exclude_patterns = ["_build", "tutorials", "made/scripts", "made/*/*.ipynb", "made/*/*.md5", "templates", "site"]
html_theme = "pydata_sphinx_theme"
html_title = "biasvar"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False, "show_prev_next": False}
html_math_renderer = "mathml"
html_show_sourcelink = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is

# Reference: a page for each name of biasvar/__init__.pyi and each error.
autosummary_generate = True
autosummary_imported_members = True  # names are attached when first used
autosummary_context = {"bases": pages.bases()}  # what users write themselves: there the members are shown
templates_path = ["templates"]
autodoc_typehints = "none"  # the sections of docstrings have them, with shapes and units
numpydoc_show_class_members = False  # methods of bundled classes are the engine's business
numpydoc_xref_param_type = False  # would look for pages of "of" and "sequence"

nitpicky = True
nitpick_ignore_regex = [
    # Nothing is fetched, so that names of other projects lead nowhere.
    (r"py:.*", r"(xarray|xr|numpy|np|pandas|pd|distributed|dask|matplotlib|pathlib|pydantic|collections|zarr)\..*"),
    # The class of an attribute that bundled losses have and users need not.
    (r"py:class", r"biasvar\.learning\.losses\.margin\.centres\.Centre"),
    # Python's own lead nowhere either.
    (r"py:.*", r"(Exception|ValueError|UserWarning|ImportError|ABC|abc\.ABC|Protocol|typing\..*|enum\..*)"),
]

sphinx_gallery_conf = {
    "examples_dirs": ["made/scripts/tutorials", "made/scripts/gallery"],
    "gallery_dirs": ["made/tutorials", "made/gallery"],
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "image_scrapers": ("pictures",),
    "reset_modules": (),
    "parallel": True,  # as many scripts at once as sphinx-build has jobs
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1,
    "download_all_examples": False,
    "backreferences_dir": "made/backreferences",
    "doc_module": ("biasvar",),
    "prefer_full_module": {r"biasvar\..*"},
    "within_subsection_order": "pages.Order",
    "write_computation_times": False,  # that page loads scripts from elsewhere
}


def setup(app: Any) -> None:
    """Add what Sphinx lacks: mathematics that no script has to draw, and links that hold in a checkout too."""
    maths.setup(app)
    app.connect("source-read", relink)


def relink(app: Any, page: str, source: list[str]) -> None:
    """Make links to other parts of a checkout those of the site."""
    if "/" not in page:
        source[0] = pages.at_home(source[0])
