"""A private key signs one login as the one user, and is given to nobody."""

import asyncio
import stat
import struct
from pathlib import Path

from guix_build_service.credentials.agent import offered
from guix_build_service.credentials.ssh_keys import SshKey
from guix_environment.repository_url import RepositoryUrl
from tests.ssh_server import key_of

URL = RepositoryUrl.parse("git@git.example:ada/private.git")


async def ask(path: str, *messages: bytes) -> list[bytes]:
    """Return what the agent at PATH answers to MESSAGES."""
    reader, writer = await asyncio.open_unix_connection(path)
    answers = []
    for message in messages:
        writer.write(struct.pack(">I", len(message)) + message)
        answers.append(await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big")))
    writer.close()
    return answers


def text(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def login(key: SshKey, *, user: bytes = b"git", service: bytes = b"ssh-connection", method: bytes = b"publickey") -> bytes:
    """Return what is signed to log in."""
    said = text(b"connection") + b"\x32" + text(user) + text(service) + text(method) + b"\x01"
    return said + text(b"ssh-ed25519") + text(key.public)


async def test_the_agent_signs_one_login_and_nothing_else(tmp_path: Path) -> None:
    key, other = key_of(tmp_path / "one"), key_of(tmp_path / "other")

    def to_sign(data: bytes, of: SshKey = key) -> bytes:
        return b"\x0d" + text(of.public) + text(data) + bytes(4)

    async with offered(key, URL, tmp_path / "loans") as loan:
        before = loan.asked
        assert stat.S_IMODE(Path(loan.agent).parent.stat().st_mode) == 0o700
        refused = [
            to_sign(b"anything"),
            to_sign(b"SSHSIG" + text(b"git")),
            to_sign(login(key, user=b"root")),
            to_sign(login(key, service=b"other")),
            to_sign(login(key, method=b"hostbased")),
            to_sign(login(key).replace(b"\x01" + text(b"ssh-ed25519"), b"\x00" + text(b"ssh-ed25519"))),  # a mere question
            to_sign(login(other)),
            to_sign(login(key), other),
            b"\x0d",
            b"\x11",  # add a key
            b"\x12" + text(key.public),  # remove it
            b"\x1b" + text(b"session-bind@openssh.com"),
            b"",
        ]
        assert await ask(loan.agent, *refused) == [b"\x05"] * len(refused)
        assert loan.asked is before
        listed, signed, again = await ask(loan.agent, b"\x0b", to_sign(login(key)), to_sign(login(key)))
        assert listed == b"\x0c" + struct.pack(">I", 1) + text(key.public) + text(b"")
        assert signed[:1] == b"\x0e"
        assert again == b"\x05", "once"
        assert loan.asked
    assert not loan.refused
    assert not list((tmp_path / "loans").iterdir())


async def test_rsa_signs_with_no_hash_that_was_broken(tmp_path: Path) -> None:
    key = key_of(tmp_path, "-t", "rsa", "-b", "2048")
    async with offered(key, URL, tmp_path / "loans") as loan:
        message = b"\x0d" + text(key.public) + text(login(key))
        assert await ask(loan.agent, message + bytes(4)) == [b"\x05"]
        [signed] = await ask(loan.agent, message + struct.pack(">I", 4))
        assert b"rsa-sha2-512" in signed
