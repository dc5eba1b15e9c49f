"""Where ref ends and path begins: only the repository knows."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from guix_build_service.git.hosts import Hosts, PrivateHost
from guix_build_service.model.environments import NewEnvironment, Person, Resolved
from guix_build_service.providers import Place, read
from guix_build_service.providers.located import Located, located
from guix_environment.errors import InvalidInput, RefNotFound, RepositoryUnavailable
from guix_environment.identifiers import Commit
from guix_environment.repository_url import RepositoryUrl
from tests.git_server import GitServer
from tests.service.web.scripted import AskingPipeline, running_manager

ADA = Person("ada")
COMMIT = Commit("ab" * 20)
REPOSITORY = RepositoryUrl.parse("https://github.com/a/b")


class Repository:
    """One that has a few names, and remembers what it was asked for, each time."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.asked: list[Sequence[str]] = []

    async def resolve(self, url: RepositoryUrl, refs: Sequence[str]) -> Resolved:
        self.asked.append(refs)
        if not self.names:
            raise RepositoryUnavailable("There is none.")
        for ref in refs:
            if (name := ref.removeprefix("refs/heads/")) in self.names:
                return Resolved(url, name, COMMIT)
        raise RefNotFound("It has no such name.")

    async def located(self, text: str, ref: str = "", subdirectory: str = "") -> Located:
        return await located(read(text), ref, subdirectory, self.resolve)


@pytest.mark.parametrize(
    ("address", "ref", "subdirectory", "opens"),
    [
        ("tree/main/notes", "main", "notes", ""),
        ("tree/release/2.0/notes/x", "release/2.0", "notes/x", ""),
        ("tree/release/2.0", "release/2.0", "", ""),
        ("blob/release/2.0/notes/i.ipynb", "release/2.0", "", "notes/i.ipynb"),
        ("tree/main/release/2.0", "main", "release/2.0", ""),
        ("tree/both/one", "both/one", "", ""),
        ("blob/refs/heads/release/2.0/i.ipynb", "refs/heads/release/2.0", "", "i.ipynb"),
    ],
)
async def test_the_longest_name_that_there_is_counts(address: str, ref: str, subdirectory: str, opens: str) -> None:
    repository = Repository("main", "release/2.0", "both", "both/one")
    found = await repository.located(f"https://github.com/a/b/{address}")
    assert found == Located(REPOSITORY, ref, subdirectory, opens)
    assert len(repository.asked) == 1
    assert found.resolved is not None


async def test_nobody_is_asked_where_the_address_says_it_all() -> None:
    repository = Repository()
    assert await repository.located("https://github.com/a/b") == Located(REPOSITORY, "", "", "")
    assert await repository.located("https://github.com/a/b/tree/main") == Located(REPOSITORY, "main", "", "")
    assert await repository.located("https://github.com/a/b", "main", "x/") == Located(REPOSITORY, "main", "x", "")
    assert await repository.located("https://github.com/a/b/tree/a/b/c", "a/b") == Located(REPOSITORY, "a/b", "c", "")
    assert repository.asked == []


async def test_what_is_named_beside_the_address_must_agree_with_it() -> None:
    repository = Repository("main")
    assert (await repository.located("https://github.com/a/b/tree/main/x", "main", "x")).subdirectory == "x"
    for ref, subdirectory in (("other", ""), ("", "other")):
        with pytest.raises(InvalidInput, match="was named beside it"):
            await repository.located("https://github.com/a/b/tree/main/x", ref, subdirectory)


async def test_a_name_that_is_not_there_and_a_server_that_is_not_are_told_apart() -> None:
    with pytest.raises(RefNotFound):
        await Repository("other").located("https://github.com/a/b/tree/main/x")
    gone = Repository()
    with pytest.raises(RepositoryUnavailable):
        await gone.located("https://github.com/a/b/tree/main/x/y/z")
    assert len(gone.asked) == 1


def test_a_request_keeps_all_else() -> None:
    request = NewEnvironment("https://github.com/a/b/tree/main/x", name="Mine", cpu=2.0)
    found = Located(REPOSITORY, "main", "x", "").asked_for(request)
    assert found == NewEnvironment("https://github.com/a/b", "main", "x", name="Mine", cpu=2.0)


def test_a_place_without_names_is_one() -> None:
    assert Place(REPOSITORY).candidates == ()


async def test_a_git_server_is_asked_once_for_all_that_an_address_may_mean(git_server: GitServer, tmp_path: Path) -> None:
    git_server.commit("ada/plots", {"notes/manifest.scm": "(list)"}, branch="release/2.0")
    address = f"http://{git_server.host}/ada/plots/src/branch/release/2.0/notes/of/may"
    hosts = Hosts([PrivateHost.parse(git_server.host)])
    async with running_manager(tmp_path, AskingPipeline, hosts) as (manager, _):
        place = await manager.locate(read(address), "", "", ADA)
        assert (place.ref, place.subdirectory) == ("release/2.0", "notes/of/may")
        assert [asked for asked in git_server.asked if "info/refs" in asked] == [
            "/ada/plots/info/refs?service=git-upload-pack"
        ]
        git_server.asked.clear()
        assert (await manager.resolve(address, "", ADA)).ref == "release/2.0"
        assert len([asked for asked in git_server.asked if "info/refs" in asked]) == 1
