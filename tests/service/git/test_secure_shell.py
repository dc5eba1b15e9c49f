"""Which hosts are reached over SSH, and with which settings."""

import os
from pathlib import Path

import pytest

from guix_build_service.git.choice import Choice
from guix_build_service.git.hosts import Hosts
from guix_build_service.git.secure_shell import SecureShell
from guix_build_service.settings.ssh import SshHosts
from guix_environment.errors import (
    HostKeyChanged,
    HostKeyUnknown,
    HostRefused,
    RepositoryUnavailable,
)
from guix_environment.repository_url import RepositoryUrl

URL = RepositoryUrl.parse("git@git.example:ada/private.git")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("git@127.0.0.1:a/b", "not on the public internet"),
        ("ssh://git@localhost/a/b", "not on the public internet"),
        ("ssh://git@10.0.0.1:2222/a", "not on the public internet"),
        ("ssh://git@8.8.8.8:25/a", "port 25"),
        ("ssh://git@8.8.8.8:80/a", "port 80"),
        ("ssh://git@8.8.8.8:6667/a", "port 6667"),
        ("https://8.8.8.8:22/a", "port 22"),
    ],
)
async def test_ssh_leads_nowhere_where_https_does_not(address: str, told: str) -> None:
    with pytest.raises(HostRefused, match=told):
        await Hosts(over_ssh=True).check(RepositoryUrl.parse(address))


async def test_forges_are_reached_at_the_ports_that_they_take_ssh_at() -> None:
    for address in ("git@8.8.8.8:a/b", "ssh://git@8.8.8.8:443/a", "ssh://git@8.8.8.8:2222/a"):
        reached = await Hosts(over_ssh=True).check(RepositoryUrl.parse(address))
        assert reached.addresses == ("8.8.8.8",)


@pytest.mark.parametrize(
    ("address", "banned"),
    [
        ("git@forge.example:one/Miner.git", "https://forge.example/one/miner"),
        ("ssh://git@forge.example:443/one/miner", "https://forge.example/one/*"),
        ("ssh://ada@forge.example/one/miner", "forge.example"),
        ("https://forge.example/one/miner", "ssh://git@forge.example/one/miner.git"),
        ("ssh://git@ssh.github.com:443/one/miner.git", "https://github.com/one/miner"),
        ("ssh://git@ssh.github.com:443/one/miner.git", "github.com"),
        ("ssh://git@altssh.gitlab.com:443/one/miner.git", "https://gitlab.com/one/*"),
    ],
)
async def test_what_is_banned_is_so_over_ssh_too(address: str, banned: str) -> None:
    with pytest.raises(HostRefused, match="not used on this hub"):
        await Hosts(choice=Choice(banned=(banned,)), over_ssh=True).check(RepositoryUrl.parse(address))


@pytest.mark.parametrize(
    ("allowed", "used"),
    [
        ("8.8.8.8", True),
        ("ssh://git@8.8.8.8/lab/*", True),
        ("https://8.8.8.8/lab/*", False),
        ("ssh://git@8.8.8.8/la", False),
        ("ssh://git@8.8.8.8", False),
        ("ssh://ada@8.8.8.8/lab/*", False),
        ("8.8.8", False),
    ],
)
async def test_an_address_of_ssh_is_allowed_as_a_whole(allowed: str, used: bool) -> None:
    hosts, url = Hosts(choice=Choice(allowed=(allowed,)), over_ssh=True), RepositoryUrl.parse("git@8.8.8.8:lab/plots.git")
    if used:
        assert (await hosts.check(url)).addresses == ("8.8.8.8",)
    else:
        with pytest.raises(HostRefused, match="not used on this hub"):
            await hosts.check(url)


async def test_without_a_known_host_ssh_is_not_used_at_all() -> None:
    with pytest.raises(HostRefused) as refused:
        await Hosts().check(URL)
    assert "Try https://git.example/ada/private.git." in refused.value.hint
    assert "keep a token for git.example" in refused.value.hint


def test_of_the_account_s_and_the_machine_s_ssh_nothing_is_used() -> None:
    command = SecureShell(Path("/etc/known 100%")).command("/run/agent", "/run/passage")
    assert command.startswith("ssh -F none -a -x ")
    for option in (
        "-oBatchMode=yes",
        "-oStrictHostKeyChecking=yes",
        "-oGlobalKnownHostsFile=none",
        "-oIdentityFile=none",
        "-oForwardAgent=no",
        "-oPermitLocalCommand=no",
        "-oPreferredAuthentications=publickey",
        "-oProxyUseFdpass=yes",
    ):
        assert option in command.split()
    assert """'-oUserKnownHostsFile="/etc/known 100%%"'""" in command
    assert """'-oIdentityAgent="/run/agent"'""" in command


def test_failures_of_ssh_have_codes_of_their_own() -> None:
    assert [kind.code for kind in (HostKeyUnknown, HostKeyChanged)] == ["host-key-unknown", "host-key-changed"]
    # Which would be that somebody may no longer read it.
    assert not any(issubclass(kind, RepositoryUnavailable) for kind in (HostKeyUnknown, HostKeyChanged))


def test_a_file_of_hosts_that_cannot_be_read_and_a_machine_without_ssh_are_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "known").touch()
    SshHosts().check("/nonexistent")  # nothing is used over SSH
    SshHosts(known_hosts=str(tmp_path / "known")).check(os.environ["PATH"])
    with pytest.raises(ValueError, match="cannot be read"):
        SshHosts(known_hosts=str(tmp_path / "other")).check(os.environ["PATH"])
    with pytest.raises(ValueError, match="not installed"):
        SshHosts(trust_new_hosts=True).check("/nonexistent")
    assert not SshHosts().secure_shell(tmp_path).is_used
    assert SshHosts(trust_new_hosts=True).secure_shell(tmp_path) == SecureShell(None, tmp_path / "learned-hosts")
