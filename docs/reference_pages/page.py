"""What the pages have in common: a heading that says where they come from, and what cannot be written."""

COMMAND = "python docs/generate.py"
"""What writes the pages."""


class Unexplained(Exception):
    """A part of the code that a page cannot be written from, in one sentence."""


def heading(title: str, source: str) -> str:
    """Return the first lines of the page TITLE, which is written from SOURCE."""
    return f"<!-- Written from {source} by `{COMMAND}`; do not change it here. -->\n\n# {title}"
