"""How Git reaches a host over SSH: with nothing of the machine's or the account's own settings, keys and agents.

The settings are explained in ssh_config(5). A host proves who it is by a key that the administrator listed; SSH connects to
nothing itself, but is handed a connection to the addresses that were checked (`guix_build_service.egress`), and signs with
nothing but what the agent of this one command has (`guix_build_service.credentials.agent`).
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = Path(__file__).parents[1] / "egress" / "hand_over.py"

_SETTINGS = {
    "BatchMode": "yes",
    "CanonicalizeHostname": "no",
    "CheckHostIP": "no",
    "ClearAllForwardings": "yes",
    "ControlMaster": "no",
    "ControlPath": "none",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "GSSAPIAuthentication": "no",
    "GlobalKnownHostsFile": "none",
    "HashKnownHosts": "no",
    "HostbasedAuthentication": "no",
    # Neither a file of the account's: the agent has the one key.
    "IdentityFile": "none",
    "KbdInteractiveAuthentication": "no",
    "LogLevel": "ERROR",
    "PasswordAuthentication": "no",
    "PermitLocalCommand": "no",
    "PreferredAuthentications": "publickey",
    "ProxyUseFdpass": "yes",
    "RequestTTY": "no",
    "ServerAliveCountMax": "3",
    "ServerAliveInterval": "10",
    "Tunnel": "no",
    "UpdateHostKeys": "no",
    "VerifyHostKeyDNS": "no",
}


@dataclass(frozen=True, slots=True)
class SecureShell:
    """SSH as Git is to use it here."""

    known_hosts: Path | None = None
    """The administrator's file of hosts' keys; only they are trusted."""
    learned_hosts: Path | None = None
    """Where the key that a host shows first is kept, to be trusted from then on; None where that is not to be."""

    @property
    def is_used(self) -> bool:
        """Whether any host can prove who it is."""
        return self.known_hosts is not None or self.learned_hosts is not None

    def command(self, agent: str, passage: str) -> str:
        """Return the value of ``GIT_SSH_COMMAND`` for whoever logs in by AGENT and is led on by PASSAGE, both sockets."""
        # SSH writes into the first file what it learns.
        files = [file for file in (self.learned_hosts, self.known_hosts) if file is not None]
        words = (sys.executable, "-I", "-S", str(_PROGRAM), passage)
        settings = _SETTINGS | {
            "IdentityAgent": _quoted(agent),
            "ProxyCommand": " ".join(shlex.quote(_plain(word)) for word in words),
            "StrictHostKeyChecking": "accept-new" if self.learned_hosts is not None else "yes",
            "UserKnownHostsFile": " ".join(_quoted(str(file)) for file in files) or "none",
        }
        options = [f"-o{name}={value}" for name, value in sorted(settings.items())]
        return shlex.join(["ssh", "-F", "none", "-a", "-x", *options])


def _plain(text: str) -> str:
    """Return TEXT so that SSH puts nothing into the place of a ``%`` of it (ssh_config(5), "TOKENS")."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """Return the path TEXT as one word of a setting's value."""
    return f'"{_plain(text)}"'
