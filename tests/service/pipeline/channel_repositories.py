"""Channels for tests: small repositories on a Git server on loopback, whose commits are signed, and a stand-in for Guix."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.manifest.allowed_channels import AllowedChannel
from tests.git_server import IDENTITY, GitServer

STAND_IN = (Path(__file__).with_name("channel_stand_in") / "build-self.scm").read_text()


def greeting(text: str) -> dict[str, str]:
    """Return the files of a channel with the one package ``lab-greeting``, which holds TEXT."""
    return {
        "lab/packages.scm": f"""(define-module (lab packages)
  #:use-module (guix packages) #:use-module (guix gexp) #:use-module (guix build-system trivial))
(define-public lab-greeting
  (package (name "lab-greeting") (version "1.0") (source #f) (build-system trivial-build-system)
    (arguments
     (list #:builder
           #~(begin
               (mkdir #$output)
               (mkdir (string-append #$output "/share"))
               (call-with-output-file (string-append #$output "/share/greeting")
                 (lambda (port) (display "{text}" port))))))
    (home-page "https://example.org") (synopsis "Greeting") (description "It greets.") (license #f)))
"""
    }


@dataclass(frozen=True)
class Signer:
    """Somebody with an OpenPGP key, in a folder of GnuPG's."""

    home: Path
    fingerprint: str

    @classmethod
    def make(cls, home: Path) -> "Signer":
        home.mkdir(mode=0o700)
        made = cls(home, "")
        made.gpg("--batch", "--passphrase", "", "--quick-generate-key", "Ada <ada@example.org>", "ed25519", "sign", "never")
        listed = made.gpg("--list-keys", "--with-colons").decode()
        return cls(home, next(line for line in listed.splitlines() if line.startswith("fpr")).split(":")[9])

    def gpg(self, *words: str) -> bytes:
        environment = {**os.environ, "GNUPGHOME": str(self.home)}
        return subprocess.run(["gpg", "--quiet", *words], env=environment, check=True, capture_output=True).stdout

    def end(self) -> None:
        """End the agent that GnuPG started."""
        environment = {**os.environ, "GNUPGHOME": str(self.home)}
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=True)


class Channel:
    """One channel: its first commit introduces it, and a branch holds the keys of those who may sign."""

    def __init__(self, server: GitServer, name: str, signer: Signer, files: Mapping[str, str]) -> None:
        self.server, self.name, self.signer = server, name, signer
        self.url = server.url(name)
        self._work = server.folder / f".{name}.channel"
        bare = server.folder / f"{name}.git"
        self._git("init", "--quiet", "--bare", "--initial-branch=master", str(bare), folder=server.folder)
        self._git("clone", "--quiet", str(bare), str(self._work), folder=server.folder)
        self._git("checkout", "--quiet", "--orphan", "keyring")
        (self._work / f"ada-{signer.fingerprint[-8:]}.key").write_bytes(signer.gpg("--armor", "--export"))
        self._commit("--no-gpg-sign")
        self._git("push", "--quiet", "origin", "keyring")
        self._git("checkout", "--quiet", "--orphan", "master")
        self._git("rm", "-r", "--quiet", "--force", ".")
        authorizations = f'(authorizations (version 0) (("{signer.fingerprint}" (name "ada"))))\n'
        self.first = self.commit({".guix-authorizations": authorizations})
        self.head = self.commit(files)

    def commit(self, files: Mapping[str, str], *, signed: bool = True) -> str:
        """Add a commit that changes FILES, and return it."""
        for path, content in files.items():
            (self._work / path).parent.mkdir(parents=True, exist_ok=True)
            (self._work / path).write_text(content)
        self._commit(f"--gpg-sign={self.signer.fingerprint}" if signed else "--no-gpg-sign")
        self._git("push", "--quiet", "origin", "master")
        return self._git("rev-parse", "HEAD").strip()

    def expression(self, commit: str = "") -> str:
        """Return the channel as a channels file names it."""
        pin = f'(commit "{commit}")' if commit else ""
        return f"""(channel (name '{self.name}) (url "{self.url}") {pin}
  (introduction (make-channel-introduction "{self.first}" (openpgp-fingerprint "{self.signer.fingerprint}"))))"""

    def allowed(self, **more: object) -> AllowedChannel:
        """Return the entry of the administrator's list that means this channel."""
        known = {"commit": self.first, "fingerprint": self.signer.fingerprint}
        return AllowedChannel.from_json({"name": self.name, "url": self.url, **known, **more})

    def _commit(self, signing: str) -> None:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message=A commit", signing)

    def _git(self, *words: str, folder: Path | None = None) -> str:
        environment = {**IDENTITY, "HOME": str(self.server.folder), "GNUPGHOME": str(self.signer.home)}
        return subprocess.run(
            ["git", *words], cwd=folder or self._work, env=environment, check=True, capture_output=True, text=True
        ).stdout
