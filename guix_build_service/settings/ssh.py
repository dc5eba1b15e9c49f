"""Which hosts' keys are trusted over SSH, as the administrator says."""

import os
import shutil
from pathlib import Path

from traitlets import Bool, Unicode
from traitlets.config import Configurable

from guix_build_service.git.secure_shell import SecureShell


class SshHosts(Configurable):
    """Which Git hosts prove who they are over SSH, and by which keys; unless set, nothing is fetched over SSH."""

    known_hosts = Unicode(
        help="""A file with the keys of the Git hosts that may be used over SSH, in the form of ~/.ssh/known_hosts.

        The service's account must be able to read it. Write into it what the hosts publish, or what `ssh-keyscan HOST`
        prints once you compared it with that: a host that is not listed, or shows another key, is refused.
        """
    ).tag(config=True)

    trust_new_hosts = Bool(
        False,
        help="""Whether the key that a host shows the first time is trusted from then on, although nobody listed it.

        Whoever is between this machine and the host that first time can then read, and change, what is fetched from it.
        """,
    ).tag(config=True)

    def secure_shell(self, folder: Path) -> SecureShell:
        """Return how Git uses SSH, for a service whose own FOLDER this is."""
        known = Path(self.known_hosts).absolute() if self.known_hosts else None
        return SecureShell(known, folder / "learned-hosts" if self.trust_new_hosts else None)

    def check(self, search_path: str) -> None:
        """Return if what is configured can be used.  Raises `ValueError` with a sentence or two that say what to do."""
        if not (self.known_hosts or self.trust_new_hosts):
            return
        if shutil.which("ssh", path=search_path) is None:
            raise ValueError("SSH is not installed. Install it, such as with `apt-get install openssh-client`.")
        if self.known_hosts and not os.access(self.known_hosts, os.R_OK):
            raise ValueError(
                f"{self.known_hosts}, SshHosts.known_hosts, cannot be read. Make it a file that the service's account reads."
            )
