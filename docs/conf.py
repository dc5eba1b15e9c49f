"""How Sphinx makes the documentation."""

project = "GuixSpawner"
author = "the GuixSpawner authors"
project_copyright = "2026, the GuixSpawner authors"
extensions = ["myst_parser", "sphinxcontrib.mermaid"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "GuixSpawner"
nitpicky = True
