"""Where the service is and who asks: its address and a token of the hub, neither of them ever a secret in an argument.

Or a folder of this machine, where the account itself says who asks: ``--folder`` or ``GUIX_BUILD_SERVICE_FOLDER`` has it, or
else it is `STATE_FOLDER`.

``GUIX_BUILD_SERVICE_URL`` or ``--service`` has the address. The token is in ``GUIX_BUILD_SERVICE_TOKEN``, or else in the
file that ``GUIX_BUILD_SERVICE_TOKEN_FILE`` names, or else in ``~/.config/guix-build-service/token``.
"""

import contextlib
import ipaddress
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from guix_build_service.commands.local import LocalService
from guix_build_service.commands.outcomes import CommandMisused, TokenMissing

ADDRESS, TOKEN, TOKEN_FILE = "GUIX_BUILD_SERVICE_URL", "GUIX_BUILD_SERVICE_TOKEN", "GUIX_BUILD_SERVICE_TOKEN_FILE"

FOLDER = "GUIX_BUILD_SERVICE_FOLDER"

STATE_FOLDER = Path("/srv/guixspawner")
"""The hub's state folder where nobody names another, as the documentation has it."""

HOW_TO_GET_ONE = (
    f"Make a token on the hub's page Token, and put it into {TOKEN}, or into a file that only you can read: "
    "umask 077; mkdir -p ~/.config/guix-build-service; cat > ~/.config/guix-build-service/token"
)
_EXAMPLE = "It is the hub's with the service's path, such as https://hub.example.org/services/guix/"
_TOKEN = re.compile(r"[!-~]{1,4096}")
_LARGEST_FILE = 8192


@dataclass(frozen=True, slots=True)
class Access:
    """A service's address, and what lets one in."""

    address: str
    """Ends with a slash."""
    token: str = field(repr=False)
    """Empty where none is needed."""
    local: LocalService | None = None
    """What is asked in place of the address, where that is on this machine."""

    @classmethod
    def here(cls, local: LocalService) -> "Access":
        """Return the access to LOCAL, a service of this machine."""
        return cls("http://localhost/", "", local)

    @property
    def host(self) -> str:
        """The host, and its port where it is given; words for what is here."""
        return urlsplit(self.address).netloc if self.local is None else "the service of this machine"

    @property
    def is_on_this_machine(self) -> bool:
        """Tell whether what is sent there leaves this machine."""
        return _is_loopback(urlsplit(self.address).hostname or "")


def access_from(variables: Mapping[str, str], address: str = "", *, plain_http: bool = False) -> Access:
    """Return the access that ADDRESS or else the environment's VARIABLES describe.

    With PLAIN_HTTP the token may be sent unencrypted to another machine. Reads a small file. Raises `CommandMisused` and
    `TokenMissing`.
    """
    return Access(service_address(address or variables.get(ADDRESS, ""), plain_http=plain_http), _token(variables))


def local_folder(variables: Mapping[str, str], *, wanted: bool, named: str, address: str) -> Path | None:
    """Return the folder of the service of this machine that is meant, or None where one is meant by its address.

    WANTED, or the folder that is NAMED, says so; else it is meant where neither an ADDRESS nor anything in VARIABLES names
    another, and the folder is there for us. The hub's state folder stands for the service's in it. Looks at files. Raises
    `CommandMisused`.
    """
    named_there = named or variables.get(FOLDER, "")
    elsewhere = address or not {ADDRESS, TOKEN, TOKEN_FILE}.isdisjoint(variables)
    if not (wanted or named) and elsewhere:
        return None
    folder = whole_path(named_there) if named_there else STATE_FOLDER
    inner = folder / "service"
    with contextlib.suppress(OSError):
        folder = inner if inner.is_dir() else folder
    return folder if wanted or named_there or _is_ours(folder) else None


def whole_path(place: str) -> Path:
    """Return the path of PLACE from the root on, which may be in somebody's home.  Raises `CommandMisused`."""
    try:
        return Path(place).expanduser().absolute()
    except (OSError, RuntimeError) as error:  # where the folder that we are in is gone, or nobody has that home
        raise CommandMisused(f"It cannot be told where {place} is.", hint="Give its whole path, from / on.") from error


def _is_ours(folder: Path) -> bool:
    try:
        return os.geteuid() in {0, folder.stat().st_uid}
    except OSError:
        return False


def service_address(text: str, *, plain_http: bool = False) -> str:
    """Return the address of the service that TEXT names, which may be the address of its hub.

    >>> service_address("https://hub.example.org")
    'https://hub.example.org/services/guix/'
    """
    if not text:
        raise CommandMisused(
            "Nothing says where the service is.",
            hint=f"Set {ADDRESS} or give --service. {_EXAMPLE} On the service's own machine give --folder in its place.",
        )
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises where it is none
    except ValueError as error:
        raise CommandMisused("This is not the address of a service.", hint=_EXAMPLE) from error
    usable = parts.scheme in {"http", "https"} and parts.hostname and not (parts.query or parts.fragment)
    if not usable or re.search(r"[^!-~]", text):
        raise CommandMisused("This is not the address of a service.", hint=_EXAMPLE)
    if "@" in parts.netloc:
        raise CommandMisused("The address holds a user name or password.", hint=f"Leave it out. {HOW_TO_GET_ONE}")
    if parts.scheme == "http" and not (plain_http or _is_loopback(parts.hostname or "")):
        raise CommandMisused(
            "The token would be sent to another machine unencrypted.",
            hint="Use the service's address with https, or give --plain-http where nobody else can listen.",
        )
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}{'' if '/services/' in path else '/services/guix'}/"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(variables: Mapping[str, str]) -> str:
    if TOKEN in variables:
        return _checked(variables[TOKEN], TOKEN)
    folder = variables.get("XDG_CONFIG_HOME") or str(Path(variables.get("HOME", "/")) / ".config")
    named = variables.get(TOKEN_FILE)
    file = Path(named or f"{folder}/guix-build-service/token")
    try:
        return _checked(_private_text(file), str(file))
    except FileNotFoundError as error:
        where = f"There is no file {file}." if named else "There is no token to show to the service."
        raise TokenMissing(where, hint=HOW_TO_GET_ONE) from error
    except OSError as error:
        raise TokenMissing(f"{file} cannot be read: {error.strerror}.", hint=HOW_TO_GET_ONE) from error


def _private_text(file: Path) -> str:
    """Return what is in FILE, which must be this account's alone.  What is no plain file is never waited for."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise TokenMissing(f"{file} is not a file.", hint=HOW_TO_GET_ONE)
        if status.st_mode & 0o077 or status.st_uid != os.geteuid():
            raise TokenMissing(
                f"{file} is not yours alone, so that others may have the token.",
                hint=f"Revoke it on the hub's page Token, put another into the file, and close that first: chmod 600 {file}",
            )
        return opened.read(_LARGEST_FILE).decode(errors="replace")


def _checked(text: str, place: str) -> str:
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise TokenMissing(f"What {place} holds is not a token of the hub.", hint=HOW_TO_GET_ONE)
    return token
