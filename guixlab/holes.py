"""Which releases of Guix have published vulnerabilities, for a warning."""


def known_holes(version: str) -> str:
    """A warning for a Guix with published vulnerabilities, or an empty text."""
    if not version.startswith(("0.", "1.0", "1.1", "1.2", "1.3", "1.4", "1.5.0")):
        return ""
    return (
        f"warning: Guix {version} has published vulnerabilities in `guix substitute` (mended upstream in commit "
        "897832f); use it to try things out, not to serve people."
    )
