"""The build service as a process of its own, with a store of its own, before a hub that knows people and nothing else."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from bench.memory import shares
from tests.service.web.fake_hub import ACCESS, FakeHub

PERSON = "ada"
TOKEN = f"token-{PERSON}"
CHECKOUT = Path(__file__).resolve().parents[1]
PREFIX = "/services/guix/"


@dataclass
class Service:
    """A running service."""

    folder: Path
    hub: FakeHub
    process: subprocess.Popen[bytes]
    port: int
    memory: dict[str, float] = field(default_factory=dict)
    """Megabytes (PSS) that its process took, by what it was doing."""
    client: AsyncHTTPClient = field(default_factory=lambda: AsyncHTTPClient(force_instance=True, max_clients=200))

    @property
    def guix_calls(self) -> list[str]:
        """What Guix was started with so far, a line each."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "guix-calls").read_text().splitlines()
        return []

    async def ask(self, method: str, path: str, body: object = None, token: str = TOKEN) -> dict[str, object]:
        """Return what the API answers, which must be a success; empty where it has nothing to say."""
        request = HTTPRequest(
            f"http://127.0.0.1:{self.port}{PREFIX}api/v1/{path}",
            method=method,
            headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
            body=json.dumps(body) if body is not None else None,
            allow_nonstandard_methods=True,
            request_timeout=3600,
            connect_timeout=600,
        )
        answer = await self.client.fetch(request)
        return dict(json.loads(answer.body or "{}"))

    async def finished(self, build: str, token: str = TOKEN) -> dict[str, object]:
        """Follow BUILD, as its page does, and return how it ended."""
        request = HTTPRequest(
            f"http://127.0.0.1:{self.port}{PREFIX}api/v1/builds/{build}/events",
            headers={"Authorization": f"token {token}"},
            request_timeout=3600,
        )
        answer = await self.client.fetch(request)
        last = [line for line in answer.body.decode().splitlines() if line.startswith("data: ")][-1]
        return dict(json.loads(last.removeprefix("data: ")))

    def weigh(self, when: str) -> None:
        """Note what the service's process takes now; where that was noted before, the most of it."""
        megabytes = round(sum(share.kilobytes for share in shares([self.process.pid])) / 1024, 1)
        self.memory[when] = max(megabytes, self.memory.get(when, 0.0))


@contextlib.asynccontextmanager
async def running_service(
    *, git_host: str = "", guix: str = "", settings: Mapping[str, object] | None = None, folder: Path | None = None
) -> AsyncIterator[Service]:
    """Run a service in FOLDER, or a new one, until the context ends; GUIX is what it runs, the real one unless given."""
    place = folder or Path(tempfile.mkdtemp(prefix="bench-service-"))
    hub = FakeHub()
    hub.add(PERSON)
    hub.serve()
    roots = Path("/var/guix/profiles/per-user/root") / place.name
    program = place / "guix"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {place}/guix-calls\nexec {guix or shutil.which("guix")} "$@"\n')
    program.chmod(0o755)
    told: dict[str, object] = {"service_folder": place / "service", "records_folder": place / "records"}
    told |= {"roots_folder": roots if Path("/var/guix/profiles").is_dir() else place / "roots", "guix": program}
    told |= {"private_hosts": json.dumps([git_host]) if git_host else "[]", **(settings or {})}
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "guix_build_service", *_options(told)],
        env=_environment(hub, port),
        stdout=(place / "output").open("ab"),
        stderr=subprocess.STDOUT,
        cwd=CHECKOUT,
    )
    service = Service(place, hub, process, port)
    try:
        await _until_up(service)
        await asyncio.sleep(1)
        service.weigh("at rest")
        yield service
    finally:
        service.client.close()
        process.terminate()
        await asyncio.to_thread(process.wait)
        await hub.stop()
        shutil.rmtree(roots, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)


def _options(told: Mapping[str, object]) -> list[str]:
    limits = {"reads_a_minute": 0, "changes_a_minute": 0, "streams": 10_000}
    named = {f"BuildService.{name}": value for name, value in told.items()}
    named |= {f"RequestLimits.{name}": value for name, value in limits.items()}
    return [f"--{name}={value}" for name, value in named.items()]


def _environment(hub: FakeHub, port: int) -> dict[str, str]:
    return {
        "JUPYTERHUB_API_TOKEN": "the-service's-own",
        "JUPYTERHUB_API_URL": hub.api_url,
        "JUPYTERHUB_CLIENT_ID": "service-guix",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([ACCESS]),
        "JUPYTERHUB_SERVICE_NAME": "guix",
        "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }


async def _until_up(service: Service) -> None:
    while service.process.poll() is None:
        with contextlib.suppress(Exception):
            await service.ask("GET", "health")
            return
        await asyncio.sleep(0.1)
    raise RuntimeError((service.folder / "output").read_text())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def health_latencies(service: Service, over: asyncio.Event) -> list[float]:
    """Ask for the service's health again and again until OVER is set, and return the milliseconds that each took."""
    found = []
    while not over.is_set():
        began = time.perf_counter()
        await service.ask("GET", "health")
        found.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(0.02)
    return found


def percentiles(values: list[float]) -> dict[str, float]:
    """Return what VALUES come to, for a result: how many, and their percentiles."""
    parts = {"50th": 0.5, "95th": 0.95, "99th": 0.99, "most": 1.0}
    return {"count": len(values), **{name: round(percentile(values, part), 2) for name, part in parts.items()}}


def percentile(values: list[float], part: float) -> float:
    """Return the least of VALUES that is not below a PART of them."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
