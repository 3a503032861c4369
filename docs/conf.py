"""Settings of the site: ``python -m sphinx -W docs site``. Nothing is fetched; the tutorials run on one core."""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent.resolve()
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]
os.environ.update(HF_HUB_OFFLINE="1", MPLBACKEND="Agg", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")
# The kernels of the tutorials import the package from here, and keep what they make out of the user's cache.
os.environ["PYTHONPATH"] = str(DOCS.parent)
os.environ.setdefault("LIGHTNING_SUBLIMINAL_CACHE", str(DOCS.parent / "site" / ".cache"))

from sphinx.domains.python import PyObject  # noqa: E402

from lightning_subliminal.core.version import __version__  # noqa: E402

project = "Lightning Subliminal"
author = "the Lightning Subliminal authors"
copyright = f"2026, {author}"
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "references", "examples"]
root_doc = "index"
exclude_patterns = ["_ext", "Thumbs.db", ".DS_Store", "**/.ipynb_checkpoints"]
suppress_warnings = ["mystnb.unknown_mime_type"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

nb_execution_mode = "cache" if os.environ.get("DOCS_EXECUTE", "1") == "1" else "off"
nb_execution_cache_path = str(DOCS.parent / "site" / ".jupyter_cache")
nb_execution_timeout = 600
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars and notes of libraries; what the package prints stays

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature shows them
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # fields of a class are in its table, not entries of their own

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_sourcelink = False

# Napoleon's table of a class's fields bears the field's usual name.
for kind in PyObject.doc_field_types:
    if kind.name == "variable":
        kind.label = "Attributes"
