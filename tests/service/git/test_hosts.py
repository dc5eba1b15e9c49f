"""Which Git hosts are talked to."""

import ipaddress
from collections.abc import Sequence
from pathlib import Path

import pytest
from traitlets import TraitError

from guix_build_service.git.choice import Choice
from guix_build_service.git.hosts import Hosts, PrivateHost
from guix_build_service.program.application import BuildService
from guix_build_service.settings.evaluation import ManifestEvaluation
from guix_environment.addresses import is_public
from guix_environment.errors import HostRefused, InvalidInput, RepositoryUnavailable
from guix_environment.repository_url import RepositoryUrl

NAMES = {
    "forge.example": ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"],
    "inside.example": ["10.0.0.7"],
    "both.example": ["93.184.216.34", "127.0.0.1"],
    "empty.example": [],
}


async def resolver(host: str, port: int) -> Sequence[str]:
    del port
    if host not in NAMES:
        raise OSError(-2, "Name or service not known")
    return NAMES[host]


async def check(address: str, *private: str, folders: Sequence[Path] = ()) -> tuple[str, ...]:
    hosts = Hosts([PrivateHost.parse(text) for text in private], folders, resolver)
    return (await hosts.check(RepositoryUrl.parse(address))).addresses


async def test_public_hosts_are_used_at_the_addresses_that_were_checked() -> None:
    assert await check("https://forge.example/a") == tuple(NAMES["forge.example"])


@pytest.mark.parametrize(
    "address",
    [
        "https://inside.example/a",
        "https://both.example/a",
        "https://127.0.0.1/a",
        "https://169.254.169.254/a",
        "https://[::1]/a",
        "http://forge.example/a",
        "http://127.0.0.1:3000/a",
        "file:///etc",
    ],
)
async def test_everything_else_is_refused(address: str) -> None:
    with pytest.raises(HostRefused) as raised:
        await check(address)
    assert raised.value.hint
    # An answer that named addresses would let people explore the network.
    assert "10.0.0.7" not in raised.value.message + raised.value.hint


async def test_a_listed_host_is_used_at_that_port_alone() -> None:
    assert await check("http://127.0.0.1:3000/a", "127.0.0.1:3000") == ("127.0.0.1",)
    assert await check("https://inside.example/a", "inside.example") == ("10.0.0.7",)
    with pytest.raises(HostRefused):
        await check("http://127.0.0.1:3001/a", "127.0.0.1:3000")


@pytest.mark.parametrize("host", ["no-such.example", "empty.example"])
async def test_a_name_without_an_address_is_told_as_such(host: str) -> None:
    with pytest.raises(RepositoryUnavailable, match=f"no host named {host}"):
        await check(f"https://{host}/a")


async def test_files_are_used_below_listed_folders_alone(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "way-out").symlink_to(tmp_path)
    assert await check(f"file://{allowed}/a", folders=[allowed]) == ()
    for path in (tmp_path / "other", allowed / "way-out" / "other"):
        with pytest.raises(HostRefused):
            await check(f"file://{path}", folders=[allowed])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "192.88.99.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001::1",
        "fec0::1",
    ],
)
def test_addresses_that_are_not_the_internet_s(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_addresses_of_the_internet(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:3000", "127.0.0.1", 3000), ("Git.Lab", "git.lab", 443), ("[::1]:80", "[::1]", 80), ("[::1]", "[::1]", 443)],
)
def test_private_hosts_are_written_as_host_and_port(text: str, host: str, port: int) -> None:
    assert PrivateHost.parse(text) == PrivateHost(host, port)


@pytest.mark.parametrize("text", ["", ":80", "host:0", "host:99999", "host:x"])
def test_what_is_no_private_host(text: str) -> None:
    with pytest.raises(InvalidInput):
        PrivateHost.parse(text)


@pytest.mark.parametrize(
    ("choice", "used", "refused"),
    [
        (
            Choice(allowed=("forge.example",)),
            ("https://forge.example/a/b", "https://forge.example:8443/a/b"),
            ("https://forge.example.evil.example/a/b", "https://evil-forge.example/a", "https://git.forge.example/a"),
        ),
        (
            Choice(allowed=("*.forge.example", "forge.example:8443")),
            ("https://git.forge.example/a/b", "https://forge.example:8443/a"),
            ("https://forge.example/a", "https://git.forge.example.evil.example/a", "https://gitforge.example/a"),
        ),
        (
            Choice(allowed=("https://forge.example/our/*", "https://forge.example/one/b")),
            ("https://forge.example/our/a", "https://forge.example/our/a.git", "https://forge.example/one/b.git"),
            (
                "https://forge.example/ours/a",
                "https://forge.example/OUR/a",
                "https://forge.example/one/b2",
                "https://forge.example/one/b/c",
                "https://evil.example/https/our/a",
            ),
        ),
        (
            Choice(banned=("https://forge.example/bad/*", "evil.example", "https://forge.example/one/miner.git")),
            ("https://forge.example/badly/a", "https://good-evil.example/a", "https://forge.example/one/miners"),
            (
                "https://forge.example/bad/a",
                "https://forge.example/Bad/A.git",
                "https://evil.example/a",
                "https://evil.example:8443/a",
                "https://forge.example/one/Miner",
                "https://forge.example/one/Miner.GIT",
                "https://forge.example/one/miner.git",
            ),
        ),
        (
            Choice(allowed=("forge.example",), banned=("https://forge.example/bad/*",)),
            ("https://forge.example/a/b",),
            ("https://forge.example/bad/a", "https://other.example/a"),
        ),
        (Choice(allowed=("forge.example",)), (), ("file:///srv/a",)),
        (
            Choice(allowed=("GIT.example", "HTTPS://Forge.Example/Our/*")),
            ("https://git.example/a", "https://forge.example/Our/a"),
            ("https://forge.example/our/a",),
        ),
        # The brackets of an address are no more than what they are.
        (
            Choice(
                banned=("[2606:2800:220:1::1]", "https://[2606:2800:220:1::2]:8443/*", "https://forge.example/one/miner/")
            ),
            ("https://[2606:2800:220:1::2]/a",),
            (
                "https://[2606:2800:220:1::1]/a",
                "https://[2606:2800:220:1:0:0:0:2]:8443/a",
                "https://forge.example/one/miner",
            ),
        ),
    ],
)
async def test_what_the_administrator_chose_counts_as_a_whole(
    choice: Choice, used: Sequence[str], refused: Sequence[str]
) -> None:
    asked: list[str] = []

    async def everywhere(host: str, port: int) -> Sequence[str]:
        asked.append(f"{host}:{port}")
        return ["93.184.216.34"]

    hosts = Hosts(file_repositories=[Path("/srv")], resolver=everywhere, choice=choice)
    for address in refused:
        with pytest.raises(HostRefused) as raised:
            await hosts.check(RepositoryUrl.parse(address))
        assert raised.value.hint
    assert asked == []  # nobody is asked about what is refused
    for address in used:
        reached = await hosts.check(RepositoryUrl.parse(address))
        assert reached.addresses in {("93.184.216.34",), ("2606:2800:220:1::2",)}


@pytest.mark.parametrize("trait", ["allowed_repositories", "banned_repositories"])
@pytest.mark.parametrize("pattern", ["", " ", "github.com/our-group/*", "codeberg.org ", "//codeberg.org/*"])
def test_what_would_never_count_is_said_at_the_start(trait: str, pattern: str) -> None:
    with pytest.raises(TraitError, match="codeberg"):
        BuildService(**{trait: ["codeberg.org", pattern]})
    with pytest.raises(TraitError):
        ManifestEvaluation(repositories=[pattern])
    with pytest.raises(TraitError):
        ManifestEvaluation(building_repositories=[pattern])


async def test_what_is_configured_holds_for_whatever_git_is_asked(tmp_path: Path) -> None:
    service = BuildService(service_folder=str(tmp_path), allowed_repositories=["forge.example"])
    service.banned_repositories = ["https://forge.example/bad/*"]
    for address in ("https://other.example/a", "https://forge.example/bad/a"):
        with pytest.raises(HostRefused):
            await service.workshop().hosts.check(RepositoryUrl.parse(address))
