"""Repositories that pin channels, with the real Guix: whose packages they get, and what is refused."""

import asyncio
import contextlib
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from guix_build_service.manifest.allowed_channels import AllowedChannel
from guix_build_service.model.environments import Build, BuildState, NewEnvironment, Version
from guix_build_service.pipeline.guix import search_path
from guix_build_service.pipeline.job import MARK
from tests.git_server import GitServer
from tests.marked_processes import marked_with
from tests.service.installation import ADA, Installation, installation
from tests.service.pipeline.channel_repositories import STAND_IN, Channel, Signer, greeting

pytestmark = [pytest.mark.guix, pytest.mark.timeout(900)]

MANIFEST = '(specifications->manifest (list "lab-greeting"))\n'

Serving = Callable[..., AbstractAsyncContextManager[Installation]]


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[Signer]:
    """Somebody who signs commits."""
    made = Signer.make(tmp_path / "gnupg")
    yield made
    made.end()


@pytest.fixture
def guix(git_server: GitServer, signer: Signer) -> Channel:
    """A stand-in for Guix's own channel."""
    return Channel(git_server, "guix", signer, {"build-aux/build-self.scm": STAND_IN})


@pytest.fixture
def lab(git_server: GitServer, signer: Signer) -> Channel:
    """A channel with one package."""
    return Channel(git_server, "lab", signer, greeting("hello"))


@pytest.fixture
def serving(tmp_path: Path, git_server: GitServer, guix_profiles: Path) -> Serving:
    """Serves with the channels that are given, with roots where the collector looks."""

    @contextlib.asynccontextmanager
    async def serve(*allowed: AllowedChannel) -> AsyncIterator[Installation]:
        roots = guix_profiles / "environments"
        async with installation(tmp_path / "service", git_server.host, roots=roots, allowed_channels=allowed) as running:
            yield running

    return serve


async def built(service: Installation, git_server: GitServer, channels: str, **more: str) -> Build:
    """Have a repository with CHANNELS built, and return how that ended."""
    name = f"repo-{secrets.token_hex(4)}"
    git_server.commit(name, {"manifest.scm": MANIFEST, "channels.scm": channels} | more)
    return await service.finished(await service.manager.add_environment(NewEnvironment(git_server.url(name)), ADA))


async def version_of(service: Installation, build: Build) -> Version:
    assert build.state is BuildState.READY, build.error
    detail = await service.manager.environment(build.environments[0], ADA)
    assert detail.version is not None
    return detail.version


def guixes(service: Installation) -> list[str]:
    """Return the Guixes that are held."""
    return sorted(str(link.readlink()) for link in (service.roots.folder / "channels").iterdir())


async def test_a_repository_gets_the_packages_of_the_channels_that_it_pins(
    serving: Serving, git_server: GitServer, guix: Channel, lab: Channel, tmp_path: Path
) -> None:
    async with serving(guix.allowed(), lab.allowed()) as service:
        # A branch is what it is when it is built.
        channels = f"(list {guix.expression(guix.head)}\n{lab.expression()})"
        first = await built(service, git_server, channels)
        version = await version_of(service, first)
        assert Path(version.profile, "share/greeting").read_text() == "hello"
        log = await service.log(first.id)
        assert "Authenticating channel 'lab'" in log
        assert f"Packages are those of guix {guix.head[:12]}, lab {lab.head[:12]}." in log
        [held] = guixes(service)

        # What is exported is the same for Guix's own command, with every commit.
        export = await service.manager.export(version.environment, version.id, ADA)
        assert f'(commit "{lab.head}")' in export.channels
        (tmp_path / "channels.scm").write_text(export.channels)
        (tmp_path / "manifest.scm").write_text(export.manifest)
        home = {"HOME": str(tmp_path / "service/home"), "PATH": search_path()}
        travelled = run(["guix", "time-machine", "-C", "channels.scm"], tmp_path, home)
        assert Path(travelled.strip()).resolve() == Path(held)
        shell = [*export.command.split(), "--", "sh", "-c", "cat $GUIX_ENVIRONMENT/share/greeting"]
        assert run(shell, tmp_path, home) == "hello"

        # The same channels elsewhere are the same Guix, and the same packages of it the same profile.
        second = await built(service, git_server, export.channels)
        assert (await version_of(service, second)).key == version.key
        log = await service.log(second.id)
        assert "Updating channel" not in log
        assert "A profile of exactly these packages is there already." in log

        # Names are those of that Guix, too.
        misspelt = '(specifications->manifest (list "lab-greting" "no-such"))'
        unknown = await built(service, git_server, export.channels, **{"manifest.scm": misspelt})
        assert unknown.error is not None
        assert unknown.error["code"] == "packages-unknown"
        assert "The Guix of channels.scm does not have 2 packages" in str(unknown.error["message"])
        assert "lab-greting (perhaps lab-greeting" in str(unknown.error["message"])
        assert guixes(service) == [held]

        # A newer commit of a channel is another Guix, and another environment.
        newer = lab.commit(greeting("hello again"))
        third = await built(service, git_server, f"(list {guix.expression(guix.head)}\n{lab.expression(newer)})")
        changed = await version_of(service, third)
        assert changed.key != version.key
        assert Path(changed.profile, "share/greeting").read_text() == "hello again"
        assert len(guixes(service)) == 2

        # A Guix stays as long as a profile that was made with it.
        await service.manager.delete_environment(first.environments[0], ADA)
        assert len(guixes(service)) == 2
        await service.manager.delete_environment(second.environments[0], ADA)
        assert len(guixes(service)) == 1
        await service.manager.delete_environment(third.environments[0], ADA)
        assert guixes(service) == []
        assert [path for path in (service.folder / "channels").rglob("*") if path.name != "uses"] == []


async def test_what_is_not_as_it_should_be_is_refused(
    serving: Serving, git_server: GitServer, guix: Channel, lab: Channel
) -> None:
    needing = '(channel (version 0) (dependencies (channel (name other) (url "http://127.0.0.1:1/other.git"))))'
    dependent = lab.commit({".guix-channel": needing})
    independent = lab.commit({".guix-channel": "(channel (version 0))"})
    tampered = lab.commit(greeting("evil"), signed=False)
    cases = [
        (tampered, "channel-not-authentic", "lacks a signature"),
        ("f" * 40, "channel-commit-not-found", f"has no {'f' * 40}"),
        (lab.head, "channel-too-old", f"does not come after {dependent[:12]}"),
        (dependent, "channels-refused", "lab needs the channel other from http://127.0.0.1:1/other.git"),
    ]
    url = "http://127.0.0.1:1/gone.git"
    gone = AllowedChannel.from_json({"name": "gone", "url": url, "unauthenticated": True})
    async with serving(guix.allowed(), lab.allowed(oldest=dependent), gone) as service:
        for commit, code, words in cases:
            build = await built(service, git_server, f"(list {guix.expression()} {lab.expression(commit)})")
            assert build.state is BuildState.FAILED
            assert build.error is not None
            assert (build.error["code"], words in str(build.error["message"])) == (code, True), build.error
        # Where an address does not answer, no other is asked for the commit.
        named = f'(channel (name \'gone) (url "{url}") (commit "{lab.head}"))'
        build = await built(service, git_server, f"(list {guix.expression()} {named})")
        assert build.error is not None
        assert build.error["code"] == "channel-unavailable", build.error
        # Its beginning is enough to find a commit.
        good = await built(service, git_server, f"(list {guix.expression()} {lab.expression(independent[:10])})")
        version = await version_of(service, good)
        export = await service.manager.export(version.environment, version.id, ADA)
        assert f'(commit "{independent}")' in export.channels


async def test_a_channel_is_used_without_authentication_where_the_administrator_says_so(
    serving: Serving, git_server: GitServer, guix: Channel, lab: Channel
) -> None:
    unsigned = lab.commit(greeting("unsigned"), signed=False)
    named = f'(list {guix.expression()} (channel (name \'lab) (url "{lab.url}") (commit "{unsigned}")))'
    entry = AllowedChannel.from_json({"name": "lab", "url": lab.url, "unauthenticated": True})
    async with serving(guix.allowed(), entry) as service:
        version = await version_of(service, await built(service, git_server, named))
        assert Path(version.profile, "share/greeting").read_text() == "unsigned"
        export = await service.manager.export(version.environment, version.id, ADA)
        assert export.channels.startswith(";; Not authenticated, as the administrator of the hub has it: lab.")


async def test_what_fetches_a_channel_ends_with_its_build(serving: Serving, git_server: GitServer, guix: Channel) -> None:
    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/lab.git"
    entry = AllowedChannel.from_json({"name": "lab", "url": url, "unauthenticated": True})
    async with silent, serving(guix.allowed(), entry) as service:
        channels = f'(list {guix.expression()} (channel (name \'lab) (url "{url}")))'
        git_server.commit("repo", {"manifest.scm": MANIFEST, "channels.scm": channels})
        asked = await service.manager.add_environment(NewEnvironment(git_server.url("repo")), ADA)
        assert asked.build is not None
        log = service.logs.path(asked.build.id)
        while not (log.exists() and "Updating channel 'lab'" in log.read_text()):
            await asyncio.sleep(0.1)
        assert marked_with(MARK, str(asked.build.id))
        await service.manager.cancel(asked.build.id, ADA)
        assert marked_with(MARK, str(asked.build.id)) == []
        assert (await service.finished(asked)).state is BuildState.CANCELLED
        assert guixes(service) == []


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Listen until the other side goes."""
    await reader.read()
    writer.close()


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
