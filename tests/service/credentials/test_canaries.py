"""No secret leaves a trace: the real service and Git through a credential's whole life, and a search for each secret after.

Every program that is started is traced with its arguments and its environment; every file that is left, every line that was
logged and every answer is searched.
"""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from tests.git_server import serve_git
from tests.ports import free_port
from tests.service.web.fake_hub import ACCESS, FakeHub
from tests.ssh_server import SSHD, SshServer, make_key, serve_ssh

GONE = (OSError, HTTPClientError)
"""What a client meets where a service is not, or no longer."""

CHECKOUT = Path(__file__).parents[3]


def can_trace() -> bool:
    strace = shutil.which("strace")
    return strace is not None and subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode == 0


pytestmark = [
    pytest.mark.skipif(not can_trace(), reason="strace is not here, or may not trace"),
    pytest.mark.skipif(SSHD is None, reason="there is no sshd here"),
]


class Passwords(dict[str, str]):
    """A server's passwords, which it can be made to take long over."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.released = threading.Event()
        self.released.set()

    def get(self, user: str, default: str | None = None) -> str | None:  # type: ignore[override] # as it is called
        self.asked.set()
        self.released.wait()
        return super().get(user, default)


@dataclass
class Service:
    """The service in a process of its own, everything it answered, and every program it started."""

    folder: Path
    hub: FakeHub
    git_host: str
    token: str
    own_token: str
    answers: list[bytes] = field(default_factory=list)
    options: tuple[str, ...] = ()
    runs: int = 0
    address: str = ""

    @contextmanager
    def running(
        self, *, traced: bool = True, under: tuple[str, ...] = (), directory: Path = CHECKOUT
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run it in DIRECTORY, traced or as the program that the words UNDER become."""
        self.address = f"http://127.0.0.1:{free_port()}"
        self.runs += 1
        trace = self.folder / f"trace-{self.runs}"
        command = [
            *(("strace", "-f", "-qq", "-v", "-s", "1000000", "-e", "trace=execve", "-o", str(trace)) if traced else under),
            *(sys.executable, "-m", "guix_build_service"),
            f"--BuildService.service_folder={self.folder}/left/service",
            f"--BuildService.records_folder={self.folder}/left/records",
            f"--BuildService.roots_folder={self.folder}/left/roots",
            f"--BuildService.private_hosts={self.git_host}",
            *self.options,
            "--BuildService.guix=/nonexistent/guix",
            f"--CredentialKeys.key_file={self.folder}/keys",
            "--log-level=DEBUG",
        ]
        environment = {
            "JUPYTERHUB_API_TOKEN": self.own_token,
            "JUPYTERHUB_API_URL": self.hub.api_url,
            "JUPYTERHUB_CLIENT_ID": "service-guix",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": f'["{ACCESS}"]',
            "JUPYTERHUB_SERVICE_NAME": "guix",
            "JUPYTERHUB_SERVICE_PREFIX": "/services/guix/",
            "JUPYTERHUB_SERVICE_URL": self.address,
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{CHECKOUT}:{os.environ.get('PYTHONPATH', '')}",
        }
        with (self.folder / "left/output").open("ab") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=directory)
        try:
            yield process
        finally:
            if not traced:
                process.terminate()
            for pid in children(process.pid) if traced else ():
                os.kill(pid, signal.SIGTERM)
            process.wait()

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
        request = HTTPRequest(
            f"{self.address}/services/guix/api/v1/{path}",
            method=method,
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
            body=json.dumps(body) if body is not None else None,
            allow_nonstandard_methods=True,
            request_timeout=300,
        )
        answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        self.answers.append(str(answer.headers).encode() + answer.body)
        return answer.code, json.loads(answer.body) if answer.body else {}

    async def is_up(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            try:
                if (await self.ask("GET", "health"))[0] == HTTPStatus.OK:
                    return
            except GONE:
                await asyncio.sleep(0.1)
        raise AssertionError((self.folder / "left/output").read_text())

    async def resolves(self, repository: str) -> bool:
        address = repository if "://" in repository else f"http://{self.git_host}/{repository}.git"
        status, answer = await self.ask("POST", "resolve", {"repo": address})
        assert status == HTTPStatus.OK or "repository-unavailable" in json.dumps(answer), answer
        return status == HTTPStatus.OK


def children(pid: int) -> list[int]:
    try:
        return [int(number) for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    hub = FakeHub()
    hub.add("ada")
    hub.serve()
    yield hub
    await hub.stop()


async def test_no_secret_leaves_a_trace(hub: FakeHub, tmp_path: Path) -> None:
    names = ("user", "first", "wrong", "second", "deleted", "given", "hub-token", "own-token")
    canaries = {name: f"canary{os.urandom(12).hex()}" for name in names}
    keys = {"key": os.urandom(32).hex(), "next-key": os.urandom(32).hex()}
    hub.people[canaries["hub-token"]] = hub.people["token-ada"]
    (tmp_path / "left").mkdir()
    (tmp_path / "served").mkdir()
    write_keys(tmp_path / "keys", keys["key"])
    passwords = Passwords()
    with serve_git(tmp_path / "served", passwords=passwords) as server, serve_ssh(tmp_path / "ssh") as ssh:
        ssh.repositories.commit("private", {"manifest.scm": '(specifications->manifest (list "hello"))'})
        server.commit("private", {"manifest.scm": '(specifications->manifest (list "hello"))'})
        service = Service(tmp_path, hub, server.host, canaries["hub-token"], canaries["own-token"])
        service.options = (f"--BuildService.private_hosts={ssh.host}", f"--SshHosts.known_hosts={ssh.known_hosts}")
        credential = f"credentials/{server.host}"
        with service.running() as process:
            await service.is_up(process)
            assert not await service.resolves("private")
            await service.ask("PUT", credential, {"user": canaries["user"], "password": canaries["wrong"]})
            passwords[canaries["user"]] = canaries["first"]
            assert not await service.resolves("private")
            _, kept = await service.ask("GET", "credentials")
            assert kept["credentials"][0]["refused"]  # type: ignore[index] # a list
            await service.ask("PUT", credential, {"user": canaries["user"], "password": canaries["first"]})
            assert await service.resolves("private")
            given = {"user": canaries["user"], "password": canaries["given"]}
            refused = {"repo": f"http://{server.host}/private.git", "credentials": given}
            assert (await service.ask("POST", "environments", refused))[0] == HTTPStatus.UNPROCESSABLE_ENTITY
            await build(service, f"http://{server.host}/private.git")
            write_keys(tmp_path / "keys", keys["next-key"], keys["key"])
            assert await service.resolves("private")
            write_keys(tmp_path / "keys", keys["next-key"])
            passwords[canaries["user"]] = canaries["second"]
            await service.ask("PUT", credential, {"user": canaries["user"], "password": canaries["second"]})
            assert await service.resolves("private")
            status, _ = await service.ask("PUT", credential, {"user": canaries["user"], "password": [canaries["second"]]})
            assert status == HTTPStatus.UNPROCESSABLE_ENTITY
            await use_keys(service, ssh, tmp_path / "made")
            await kill_while_it_is_lent(service, process, passwords)
        with service.running() as process:
            await service.is_up(process)
            assert await service.resolves("private")
            await service.ask("PUT", credential, {"user": canaries["user"], "password": canaries["deleted"]})
            assert (await service.ask("DELETE", credential))[0] == HTTPStatus.NO_CONTENT
            assert not await service.resolves("private")
            assert (await service.ask("GET", "credentials"))[1] == {"credentials": []}
    search(
        service,
        [*canaries.values(), *keys.values()],
        [*forms_of(tmp_path / "made/admitted"), *forms_of(tmp_path / "made/other")],
    )


async def use_keys(service: Service, ssh: SshServer, folder: Path) -> None:
    """Have a key that the server does not admit tried, and one that it does used by a build."""
    admitted, other = make_key(folder / "admitted"), make_key(folder / "other")
    ssh.admit(admitted)
    credential = f"credentials/{ssh.host}"
    assert (await service.ask("PUT", credential, {"ssh_key": other.read_text()}))[0] == HTTPStatus.OK
    assert not await service.resolves(ssh.url("private"))
    both = {"ssh_key": other.read_text(), "password": "both"}
    assert (await service.ask("PUT", credential, both))[0] == HTTPStatus.UNPROCESSABLE_ENTITY
    assert (await service.ask("PUT", credential, {"ssh_key": admitted.read_text()}))[0] == HTTPStatus.OK
    assert await service.resolves(ssh.url("private"))
    await build(service, ssh.url("private"))
    assert (await service.ask("DELETE", credential))[0] == HTTPStatus.NO_CONTENT


def forms_of(file: Path) -> list[bytes]:
    """Return what is secret of the key in FILE: as it is, in hexadecimal digits, and within anything in base64."""
    key = serialization.load_ssh_private_key(file.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    secret = key.private_bytes_raw()
    encoded = [base64.b64encode(bytes(before) + secret)[4:-4] for before in range(3)]
    return [secret, secret.hex().encode(), *encoded]


def write_keys(file: Path, *keys: str) -> None:
    new = file.with_suffix(".new")
    new.touch(0o600)
    new.write_text("\n".join(keys))
    new.replace(file)


async def build(service: Service, repository: str) -> None:
    """Have REPOSITORY fetched by a build, which ends for want of a Guix."""
    status, environment = await service.ask("POST", "environments", {"repo": repository})
    assert status == HTTPStatus.ACCEPTED
    build = environment["build"]["id"]  # type: ignore[index] # a build
    while (await service.ask("GET", f"builds/{build}"))[1]["state"] != "failed":
        await asyncio.sleep(0.1)
    _, found = await service.ask("GET", f"builds/{build}")
    assert found["error"]["code"] == "guix-unavailable", found  # type: ignore[index] # fetched and read before


async def kill_while_it_is_lent(service: Service, process: subprocess.Popen[bytes], passwords: Passwords) -> None:
    """End SERVICE as a crash does while Git has a secret in its hands."""
    passwords.asked.clear()
    passwords.released.clear()
    asking = asyncio.create_task(service.resolves("private"))
    await asyncio.to_thread(passwords.asked.wait)
    [python] = children(process.pid)
    os.kill(python, signal.SIGABRT)  # as a failed assertion of a library does: what would leave a core
    with pytest.raises(GONE):
        await asking
    passwords.released.set()


def search(service: Service, canaries: list[str], further: list[bytes]) -> None:
    """Fail for any of CANARIES, and FURTHER ones, in a program's words and variables, a file that was left, or an answer."""
    traced = b""
    for number in range(1, service.runs + 1):
        trace = service.folder / f"trace-{number}"
        traced += trace.read_bytes().split(b"\n", 1)[1]  # the first program is the service itself, as the hub starts it
    assert b"git_credential.py" in traced
    assert b"git-remote-http" in traced
    assert b"hand_over.py" in traced
    assert b"IdentityAgent" in traced
    left = [path for path in (service.folder / "left").rglob("*") if path.is_file()]
    cookies = next(path for path in left if path.name == "cookie-secret").read_bytes()
    assert any(path.name == "service.sqlite" for path in left)
    assert any(path.suffix == ".log" or "logs" in path.parts for path in left)
    assert not [path for path in CHECKOUT.glob("core*") if path.is_file() and path.stat().st_mtime > time.time() - 600]
    contents = {str(path): path.read_bytes() for path in left if path.name != "cookie-secret"}
    contents |= {"programs": traced, "answers": b"\n".join(service.answers)}
    for canary in canaries:
        forms = [canary.encode()]
        if len(canary) == 64:
            forms.append(bytes.fromhex(canary))
        for where, content in contents.items():
            assert not any(form in content for form in forms), where
    for where, content in contents.items():
        assert not any(form in content for form in further), where
    assert not any(cookies in content for content in contents.values())
