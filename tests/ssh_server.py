"""A real SSH server on loopback that gives out Git repositories: OpenSSH's, as the account that the tests run as."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.credentials.ssh_keys import SshKey
from tests.git_server import GitServer

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@dataclass(frozen=True)
class SshServer:
    """Serves the repositories of ``repositories`` to whoever has one of the keys that it was told."""

    folder: Path
    port: int
    repositories: GitServer

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def known_hosts(self) -> Path:
        """A file that says by which key this server is known."""
        return self.folder / "known_hosts"

    def url(self, name: str) -> str:
        return f"ssh://{pwd.getpwuid(os.geteuid()).pw_name}@{self.host}{self.repositories.folder}/{name}.git"

    def admit(self, *keys: Path) -> None:
        """Let whoever has one of KEYS, and nobody else, fetch."""
        forced = 'restrict,command="git-shell -c \\"$SSH_ORIGINAL_COMMAND\\""'
        lines = [f"{forced} {key.with_suffix('.pub').read_text()}" for key in keys]
        (self.folder / "authorized").write_text("".join(lines))

    def said(self) -> str:
        """Return what the server logged."""
        return (self.folder / "log").read_text()


def make_key(file: Path, *words: str, passphrase: str = "") -> Path:
    """Make a key by ``ssh-keygen WORDS``, of Ed25519 unless they say otherwise; FILE is the private one."""
    kind = words or ("-t", "ed25519")
    file.parent.mkdir(parents=True, exist_ok=True)
    command = ["ssh-keygen", "-q", *kind, "-N", passphrase, "-C", "", "-f", str(file)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return file


def key_of(folder: Path, *words: str, passphrase: str = "") -> SshKey:
    """Make a key as `make_key` does, with the private one at ``FOLDER/key``, and return it as the service reads it."""
    return SshKey.parse(make_key(folder / "key", *words, passphrase=passphrase).read_text())


def _certify(key: Path, authority: Path) -> None:
    command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "server", "-h", "-n", "127.0.0.1", f"{key}.pub"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)


@contextlib.contextmanager
def serve_ssh(folder: Path, *, port: int = 0, verbose: bool = False, authority: Path | None = None) -> Iterator[SshServer]:
    """Serve while the context lasts, from files in FOLDER; at PORT where an earlier one was.

    With AUTHORITY, a private key, the server's own key has a certificate by it.
    """
    folder.mkdir(exist_ok=True)
    key = folder / "host-key"
    key.unlink(missing_ok=True)
    make_key(key)
    if authority is not None:
        _certify(key, authority)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        port = probe.getsockname()[1]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": key,
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PrintMotd": "no",
        "LogLevel": "DEBUG2" if verbose else "VERBOSE",
    }
    if authority is not None:
        settings["HostCertificate"] = f"{key}-cert.pub"
    (folder / "settings").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    (folder / "repositories").mkdir(exist_ok=True)
    server = SshServer(folder, port, GitServer(folder / "repositories", 0))
    public = key.with_suffix(".pub").read_text()
    if not server.known_hosts.exists():
        server.known_hosts.write_text(f"[127.0.0.1]:{port} {public}")
    assert SSHD is not None
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "settings")], stdout=log, stderr=log)
    try:
        while True:
            assert process.poll() is None, server.said()
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
        yield server
    finally:
        process.terminate()
        process.wait()
