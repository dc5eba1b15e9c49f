"""The way to an archive: the hosts that were checked, as much as was ordered, and nowhere else."""

from io import BytesIO
from pathlib import Path

import pytest

from guix_build_service.archives.download import Downloads, Order
from guix_build_service.git.hosts import Hosts, PrivateHost
from guix_environment.errors import GuixSpawnerError, HostRefused, RepositoryTooLarge, RepositoryUnanswered
from guix_environment.repository_url import RepositoryUrl
from tests.git_server import make_certificate
from tests.service.archives.archive_site import ArchiveSite, Reply, serve_archive


async def test_no_redirect_leads_past_the_check_of_hosts(site: ArchiveSite) -> None:
    downloads = Downloads(Hosts([PrivateHost.parse(site.host)]))
    url = RepositoryUrl.parse(f"{site.url}/records/7")
    with serve_archive() as inner:
        inner.reply("/secret", Reply(b"x"))
        ways = (f"{inner.url}/secret", "https://169.254.169.254/x", f"http://a:b@{site.host}/x", f"ssh://{site.host}/x")
        for leads in (*ways, "file:///etc/passwd"):
            site.reply("/a", Reply(status=302, location=leads))
            with pytest.raises(GuixSpawnerError):
                await downloads.json(url, "/a")
        assert inner.asked == []


@pytest.mark.parametrize(
    "location",
    ["http://[", "//[::1", "https://a:b:c/x", "http://host:99999999/x", "http://\u00e2\u0098\u0083/x", "https:///x"],
)
async def test_what_is_no_address_is_not_followed(site: ArchiveSite, location: str) -> None:
    site.reply("/a", Reply(status=302, location=location))
    with pytest.raises(HostRefused, match="not followed"):
        await Downloads(Hosts([PrivateHost.parse(site.host)])).json(RepositoryUrl.parse(f"{site.url}/records/7"), "/a")


async def test_an_address_that_is_not_quoted_is_followed_as_it_is_meant(site: ArchiveSite) -> None:
    site.reply("/a", Reply(status=302, location="/\u00c3\u00bc b%20c?d=%2F&e#f"))  # UTF-8, as servers send it
    site.reply("/%C3%BC%20b%20c?d=%2F&e", Reply(b"[]"))
    url = RepositoryUrl.parse(f"{site.url}/records/7")
    assert await Downloads(Hosts([PrivateHost.parse(site.host)])).json(url, "/a") == (200, [])


async def test_redirects_end(site: ArchiveSite) -> None:
    site.reply("/a", Reply(status=302, location="/a"))
    url = RepositoryUrl.parse(f"{site.url}/records/7")
    with pytest.raises(GuixSpawnerError, match="without an end"):
        await Downloads(Hosts([PrivateHost.parse(site.host)])).json(url, "/a")
    assert len(site.asked) == 6


async def test_a_host_that_is_not_allowed_is_not_asked(site: ArchiveSite) -> None:
    with pytest.raises(HostRefused):
        await Downloads(Hosts()).json(RepositoryUrl.parse(f"{site.url}/records/7"), "/a")
    assert site.asked == []


async def test_more_than_was_ordered_is_not_taken(site: ArchiveSite) -> None:
    site.reply("/a", Reply(b"x" * 3_000_000))
    into = BytesIO()
    order = Order(f"{site.url}/a", into, 1_000_000)
    url = RepositoryUrl.parse(f"{site.url}/records/7")
    with pytest.raises(RepositoryTooLarge):
        await Downloads(Hosts([PrivateHost.parse(site.host)])).get(url, order, 30)
    assert len(into.getvalue()) <= 1_000_000


async def test_an_archive_proves_who_it_is(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "site.pem", "archive.example")

    async def here(host: str, port: int) -> list[str]:  # noqa: ARG001 - a resolver's signature
        return ["127.0.0.1"]

    with serve_archive(certificate) as site:
        site.reply("/a", Reply(b'{"a": 1}'))
        url = RepositoryUrl.parse(f"https://archive.example:{site.port}/records/7")
        hosts = Hosts([PrivateHost("archive.example", site.port)], resolver=here)
        assert await Downloads(hosts, certificate).json(url, "/a") == (200, {"a": 1})
        with pytest.raises(RepositoryUnanswered, match="prove who it is"):
            await Downloads(hosts).json(url, "/a")
