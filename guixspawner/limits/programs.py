"""Where the machine's own programs are that limits are set with."""

import os
import shutil

_PLACES = "/usr/bin:/bin:/run/current-system/profile/bin"
"""Where they are when the hub's PATH does not say."""


def find_program(name: str) -> str | None:
    """Return the whole path of the program NAME, or None."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_PLACES}")
