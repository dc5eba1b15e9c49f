"""Names by which store items are kept from Guix's garbage collector, as symbolic links in one folder.

The collector follows every link below ``/var/guix/gcroots`` and ``/var/guix/profiles`` (``nix/libstore/gc.cc``,
``findRoots``), so a folder there needs no word with the daemon: an item is held from the moment that its link exists.  The
service holds what it built this way, and the spawner what a running session uses (a *lease*).
"""

import contextlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from guix_environment.errors import InvalidInput
from guix_environment.identifiers import StorePath

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_UNFINISHED = ".unfinished-"


class Roots:
    """The links of one folder.  Each call blocks for a few system calls on the local disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def hold(self, name: str, store_path: StorePath) -> Path:
        """Keep STORE_PATH, and all that it refers to, under NAME and return the link.

        What NAME held before is held until the new link is in its place, never neither of them.  The item need not exist
        yet: a root may come before the build.  Raises `InvalidInput` for a name that is not one plain file name.
        """
        link = self._link(name)
        self.make_folder()
        # A name of its own for each call, so that two of them at once do not take each other's unfinished link.
        place = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.folder))
        try:
            unfinished = place / "link"
            unfinished.symlink_to(store_path)
            unfinished.replace(link)
        finally:
            for rest in place.iterdir():
                rest.unlink()
            place.rmdir()
        return link

    def release(self, name: str) -> None:
        """Let go of what NAME holds; nothing happens when it holds nothing."""
        self._link(name).unlink(missing_ok=True)

    def held(self) -> Mapping[str, StorePath]:
        """Return every name with the store item it holds; links to anything else are left out."""
        found: dict[str, StorePath] = {}
        if not self.folder.is_dir():
            return found
        for link in sorted(self.folder.iterdir()):
            with contextlib.suppress(OSError, InvalidInput):
                found[link.name] = StorePath(str(link.readlink()))
        return found

    def _link(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"This cannot be the name of a root: {name!r:.80}")
        return self.folder / name

    def make_folder(self) -> None:
        """Make the folder where there is none, readable by the daemon whatever account runs it and whatever the umask."""
        missing = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
