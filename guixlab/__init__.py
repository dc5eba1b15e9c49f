"""A Guix in a folder, for machines that have none: development tooling, not part of the installed product."""
