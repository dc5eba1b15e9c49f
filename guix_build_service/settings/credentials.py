"""Where the keys of credentials come from, as the administrator says."""

from collections.abc import Mapping
from pathlib import Path

from traitlets import Unicode
from traitlets.config import Configurable

from guix_build_service.credentials.keys import GivenKeys, KeyFile, KeysAndEarlier, parse_keys
from guix_build_service.vault.seals import KeySource
from guix_build_service.web.secret_file import random_line, read_or_make_secret


class CredentialKeys(Configurable):
    """What people's credentials for private repositories are encrypted with."""

    key_file = Unicode(
        help="""A file with the keys, the newest on its first line, each 32 bytes as `openssl rand -hex 32` prints them.

        It must belong to the service's account, with mode 0600. A new key on its first line takes effect while the service
        runs: everything is sealed anew, after which the old ones can go. Without such a file the keys are those of the
        variable JUPYTERHUB_CRYPT_KEY, where the service is given it, or else one is made in the service's folder, as
        credential-keys; what that one sealed is sealed anew at the first start with others. Keep keys apart from backups
        of that folder: whoever has both can read everything.
        """
    ).tag(config=True)

    def source(self, folder: Path, environment: Mapping[str, str]) -> KeySource:
        """Return where the keys come from, for a service whose own FOLDER and ENVIRONMENT these are.

        Raises `KeysUnusable`, and what `read_or_make_secret` does where a key is to be made.
        """
        own = folder / "credential-keys"
        if self.key_file:
            return KeysAndEarlier(KeyFile(Path(self.key_file).absolute()), KeyFile(own))
        if given := environment.get("JUPYTERHUB_CRYPT_KEY", ""):
            return KeysAndEarlier(GivenKeys(parse_keys(given)), KeyFile(own))
        read_or_make_secret(own, random_line)
        return KeyFile(own)
