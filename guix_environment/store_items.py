"""Whether store items are on this machine, which only Guix may put there and take away."""

import os
from collections.abc import Iterable

from guix_environment.identifiers import StorePath


def all_there(items: Iterable[StorePath]) -> bool:
    """Tell whether every one of ITEMS is there.  Blocks for a system call each."""
    return all(os.path.lexists(item) for item in items)
