"""The one Git command line, and that nothing of a person's or of the machine's can steer it."""

import contextlib
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guix_build_service.git.git import Git, check, fetching, listing, version_reference
from guix_build_service.git.hosts import Reached
from guix_environment.errors import GuixSpawnerError, InvalidInput
from guix_environment.identifiers import Commit
from guix_environment.repository_url import RepositoryUrl, checked_ref

GIT = Git("/usr/bin/git", Path("/nonexistent/home"), "/usr/bin", {"MARK": "one"})
PROXY = "http://git:password@127.0.0.1:4000"
COMMIT = Commit("0123456789" * 4)


def settings_of(environment: dict[str, str]) -> dict[str, str]:
    return {
        environment[f"GIT_CONFIG_KEY_{number}"]: environment[f"GIT_CONFIG_VALUE_{number}"]
        for number in range(int(environment["GIT_CONFIG_COUNT"]))
    }


def test_the_command_that_asks_a_server() -> None:
    url = RepositoryUrl.parse("https://Forge.example/somebody/analysis.git")
    reached = Reached(url, ("192.0.2.1", "2001:db8::1"), PROXY)
    command = GIT.command(*listing(str(url), ["HEAD", "refs/heads/main"]), reached=reached)
    limits = ("prlimit", "--fsize=1073741824", "--as=2147483648", "--cpu=120", "--")
    address = "https://forge.example/somebody/analysis.git"
    assert command.words == (*limits, "/usr/bin/git", "ls-remote", "--symref", "--", address, "HEAD", "refs/heads/main")
    environment = dict(command.environment)
    settings = settings_of(environment)
    for name in [name for name in environment if name.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))]:
        del environment[name]
    assert environment == {
        "PATH": "/usr/bin",
        "HOME": "/nonexistent/home",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "https",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_CONFIG_COUNT": str(len(settings)),
        "MARK": "one",
    }
    assert settings == {
        "protocol.allow": "never",
        "protocol.https.allow": "always",
        "http.followRedirects": "false",
        "http.sslVerify": "true",
        "http.lowSpeedLimit": "1000",
        "http.lowSpeedTime": "20",
        "http.proxy": PROXY,
        "http.proxyAuthMethod": "basic",
        "credential.helper": "",
        "credential.useHttpPath": "true",
        "transfer.credentialsInUrl": "die",
        "transfer.fsckObjects": "true",
        "fetch.fsck.zeroPaddedFilemode": "ignore",
        "fetch.fsck.badTimezone": "ignore",
        "transfer.bundleURI": "false",
        "fetch.unpackLimit": "1",
        "fetch.writeCommitGraph": "false",
        "core.bigFileThreshold": "16m",
        "core.packedGitWindowSize": "32m",
        "core.packedGitLimit": "256m",
        "pack.threads": "1",
        "core.hooksPath": "/dev/null",
        "core.symlinks": "false",
        "core.fsmonitor": "false",
        "core.attributesFile": "/dev/null",
        "core.sharedRepository": "0644",
        "submodule.recurse": "false",
        "fetch.recurseSubmodules": "false",
        "gc.auto": "0",
        "maintenance.auto": "false",
        "safe.bareRepository": "explicit",
        "safe.directory": "*",
        "init.defaultBranch": "main",
        "advice.detachedHead": "false",
    }


def test_the_command_that_fetches_one_commit() -> None:
    words = fetching("https://forge.example/a", COMMIT, version_reference(COMMIT))
    assert words == (
        *("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance"),
        *("--no-write-fetch-head", "--", "https://forge.example/a", f"+{COMMIT}:refs/versions/{COMMIT}"),
    )
    assert GIT.command(*words, folder=Path("/r.git")).words[6] == "--git-dir=/r.git"


def test_a_command_on_local_files_may_use_no_protocol_at_all() -> None:
    environment = GIT.environment(None)
    assert environment["GIT_ALLOW_PROTOCOL"] == "none"
    assert [key for key in settings_of(environment) if key.startswith("protocol.")] == ["protocol.allow"]


def test_without_a_proxy_no_host_is_reached() -> None:
    environment = GIT.environment(Reached(RepositoryUrl.parse("https://forge.example/a"), ("192.0.2.1",)))
    assert environment["GIT_ALLOW_PROTOCOL"] == "none"
    assert [key for key in settings_of(environment) if key.startswith(("protocol.", "http.proxy"))] == ["protocol.allow"]


def test_the_password_of_the_proxy_is_not_shown() -> None:
    reached = Reached(RepositoryUrl.parse("https://forge.example/a"), ("192.0.2.1",), PROXY)
    assert "password" not in repr(reached)
    assert not any("password" in word for word in GIT.command("version", reached=reached).words)


def test_authorities_of_the_administrator_s() -> None:
    assert settings_of(replace(GIT, certificates=Path("/etc/our.pem")).environment(None))["http.sslCAInfo"] == "/etc/our.pem"


@pytest.mark.parametrize(("version", "fine"), [("2.31.0", True), ("2.39.5 (Apple)", True), ("2.30.9", False), ("x", False)])
async def test_an_old_git_is_not_used(tmp_path: Path, version: str, fine: bool) -> None:
    program = tmp_path / "git"
    program.write_text(f"#!/bin/sh\necho git version {shlex.quote(version)}\n")
    program.chmod(0o755)
    with contextlib.nullcontext() if fine else pytest.raises(GuixSpawnerError, match=r"older than 2\.31"):
        await check(Git(str(program), tmp_path))


@given(st.text(max_size=80), st.text(max_size=40))
def test_nothing_that_people_send_stands_before_the_dashes(address: str, ref: str) -> None:
    try:
        url, name = RepositoryUrl.parse(f"https://forge.example/{address}"), checked_ref(ref)
    except InvalidInput:
        return
    words = listing(str(url), [f"refs/heads/{name}"])
    assert words[:3] == ("ls-remote", "--symref", "--")
    assert not any(word.startswith("-") for word in words[3:])


@pytest.mark.parametrize(
    "address", ["ext::sh -c id", "file:///etc", "git://127.0.0.1/x", "http://127.0.0.1:1/x", "/etc", "ssh://x/y"]
)
async def test_git_itself_refuses_other_protocols(tmp_path: Path, address: str) -> None:
    git = Git("git", tmp_path)
    reached = Reached(RepositoryUrl.parse("https://forge.example/a"), ("192.0.2.1",), "http://git:x@127.0.0.1:9")
    done = await git.run("ls-remote", "--", address, reached=reached)
    assert not done.succeeded
    assert b"not allowed" in done.errors or b"does not appear" in done.errors
