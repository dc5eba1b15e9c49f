"""What people paste from forges, and what links of BinderHub say, in the words of the service."""

import pytest

from guix_build_service.providers import ArchiveUnsupported, Place, UnknownProvider, read, read_spec
from guix_build_service.providers.place import KNOWN_HOSTS
from guix_environment.archived import ArchiveSites
from guix_environment.errors import InvalidAddress, InvalidInput, InvalidRef
from guix_environment.repository_url import RepositoryUrl
from tests.service.providers.addresses import HOSTILE_ADDRESSES, lines

COMMIT = "7f3a9c1" + "0" * 33
SWH = f"swh:1:rev:{COMMIT};origin=https://github.com/a/b"


def place(repository: str, ref: str = "", path: str = "", *, opens: bool = False, unclear: str = "") -> Place:
    parts = tuple(unclear.split("/")) if unclear else ()
    return Place(RepositoryUrl.parse(repository), ref, path, opens, parts)


PAGES = {
    # GitHub
    "https://github.com/a/b": place("https://github.com/a/b"),
    "https://github.com/a/b/": place("https://github.com/a/b"),
    "https://github.com/a/b.git": place("https://github.com/a/b.git"),
    "github.com/a/b": place("https://github.com/a/b"),
    "http://www.GitHub.com/a/b?tab=readme-ov-file#use": place("https://github.com/a/b"),
    "https://github.com/a/b/issues/7": place("https://github.com/a/b"),
    "https://github.com/a/b/tree/main": place("https://github.com/a/b", "main"),
    "https://github.com/a/b/tree/HEAD/notebooks": place("https://github.com/a/b", path="notebooks"),
    "https://github.com/a/b/tree/main/notebooks": place("https://github.com/a/b", unclear="main/notebooks"),
    "https://github.com/a/b/tree/feature%2Fx": place("https://github.com/a/b", unclear="feature/x"),
    f"https://github.com/a/b/tree/{COMMIT}/x/y": place("https://github.com/a/b", COMMIT, "x/y"),
    f"https://github.com/a/b/commit/{COMMIT}": place("https://github.com/a/b", COMMIT),
    "https://github.com/a/b/blob/main/x/a%20b.ipynb": place(
        "https://github.com/a/b", opens=True, unclear="main/x/a b.ipynb"
    ),
    f"https://github.com/a/b/blob/{COMMIT}/i.ipynb#L3": place("https://github.com/a/b", COMMIT, "i.ipynb", opens=True),
    "https://github.com/a/b/releases/tag/v1.0": place("https://github.com/a/b", "v1.0"),
    "https://github.com/a/b/releases/tag/lib/v1": place("https://github.com/a/b", "lib/v1"),
    "https://raw.githubusercontent.com/a/b/main/i.R": place("https://github.com/a/b", opens=True, unclear="main/i.R"),
    # GitLab
    "https://gitlab.com/g/s/p": place("https://gitlab.com/g/s/p"),
    "https://gitlab.com/g/s/p/-/tree/main": place("https://gitlab.com/g/s/p", "main"),
    "https://gitlab.com/g/p/-/tree/a/b?ref_type=heads": place("https://gitlab.com/g/p", unclear="a/b"),
    "https://git.example/g/s/t/p/-/blob/main/i.md": place("https://git.example/g/s/t/p", opens=True, unclear="main/i.md"),
    "https://git.example:8443/g/p/-/tags/v1": place("https://git.example:8443/g/p", "v1"),
    f"https://gitlab.com/g/p/-/commit/{COMMIT}": place("https://gitlab.com/g/p", COMMIT),
    "https://gitlab.com/g/p/-/merge_requests/1": place("https://gitlab.com/g/p"),
    "https://gitlab.com/g/p/tree/main": place("https://gitlab.com/g/p", "main"),
    # Gitea, Forgejo
    "https://codeberg.org/a/b": place("https://codeberg.org/a/b"),
    "codeberg.org/a/b/src/branch/main": place("https://codeberg.org/a/b", "main"),
    "https://codeberg.org/a/b/src/branch/main/src": place("https://codeberg.org/a/b", unclear="main/src"),
    "https://git.example/a/b/src/tag/v1.0": place("https://git.example/a/b", "v1.0"),
    f"https://git.example/sub/a/b/src/commit/{COMMIT}/x": place("https://git.example/sub/a/b", COMMIT, "x"),
    "https://codeberg.org/a/b/src/branch/f/x/i.ipynb": place("https://codeberg.org/a/b", opens=True, unclear="f/x/i.ipynb"),
    "https://codeberg.org/a/b/raw/branch/main/data": place("https://codeberg.org/a/b", opens=True, unclear="main/data"),
    f"https://codeberg.org/a/b/commit/{COMMIT}": place("https://codeberg.org/a/b", COMMIT),
    "https://codeberg.org/a/b/releases/tag/v1": place("https://codeberg.org/a/b", "v1"),
    # Gists
    "https://gist.github.com/a/0123456789abcdef0123": place("https://gist.github.com/0123456789abcdef0123.git"),
    "https://gist.github.com/0123456789abcdef0123.git": place("https://gist.github.com/0123456789abcdef0123.git"),
    f"https://gist.github.com/a/0123456789abcdef0123/{COMMIT}": place(
        "https://gist.github.com/0123456789abcdef0123.git", COMMIT
    ),
    f"https://gist.github.com/0123456789abcdef0123/{COMMIT}": place(
        "https://gist.github.com/0123456789abcdef0123.git", COMMIT
    ),
    f"https://gist.githubusercontent.com/a/0123/raw/{COMMIT}/i.R": place("https://gist.github.com/0123.git", COMMIT),
    # Archives
    SWH: place("https://github.com/a/b", COMMIT),
    f"https://archive.softwareheritage.org/{SWH}": place("https://github.com/a/b", COMMIT),
    f"swh:1:dir:{COMMIT};origin=https://git.example/x;anchor=swh:1:rev:{COMMIT};path=/a/b/": place(
        "https://git.example/x", COMMIT, "a/b"
    ),
    f"swh:1:cnt:{COMMIT};origin=https://git.example/x;anchor=swh:1:rev:{COMMIT};path=/a/i.R;lines=3": place(
        "https://git.example/x", COMMIT, "a/i.R", opens=True
    ),
    "https://archive.softwareheritage.org/browse/origin/directory/?origin_url=https://github.com/a/b": place(
        "https://github.com/a/b"
    ),
    # Any other
    "https://git.example/a/tree/main": place("https://git.example/a/tree/main"),
    "file:///srv/git/a": place("file:///srv/git/a"),
}


@pytest.mark.parametrize("text", PAGES)
def test_an_address_of_a_page_is_understood(text: str) -> None:
    found = read(text)
    assert found == PAGES[text]
    assert read(str(found.repository)) == Place(found.repository)


def test_plain_addresses_are_taken_as_they_are() -> None:
    for line in lines("addresses.txt"):
        pasted, _, canonical = line.partition("\t")
        assert read(pasted) == Place(RepositoryUrl.parse(canonical.replace("//www.github.com/", "//github.com/")))


def test_what_no_repository_has_as_its_address_is_refused_here_too() -> None:
    for text in HOSTILE_ADDRESSES:
        try:
            plain = RepositoryUrl.parse(text)
        except InvalidInput:
            if text.partition("/")[0] in KNOWN_HOSTS:  # what people type without https:// is understood
                assert read(text) == read(f"https://{text}")
                continue
            with pytest.raises(InvalidInput):
                read(text)
        else:
            assert read(text).repository.host == plain.host


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("https://github.com/a", "nobody's repository"),
        ("https://github.com/a/b/pull/7/files", "pull request"),
        ("https://gist.github.com/a", "no gist"),
        ("https://me:secret@github.com/a/b/tree/main", "password"),
        ("https://me:secret@git.example/a/b/-/tree/main", "password"),
        ("https://github.com/a/b/blob/main/%2e%2e/%2e%2e/etc/passwd", "file of a repository"),
        ("https://github.com/a/b/blob/main/%0a", "file of a repository"),
        ("https://github.com/a/b/tree/main/..%2f..", "folder inside"),
        ("https://github.com/a/b/tree/--upload-pack=x", "branch, a tag or a commit"),
        ("https://github.com/a/b/tree/--upload-pack=x/y", "names no branch"),
        ("https://git.example/a/../b/-/tree/main", "no repository's address"),
    ],
)
def test_refusals_say_what_is_wrong(text: str, part: str) -> None:
    def understood() -> Place:
        found = read(text)
        return found.told_apart(found.candidates[-1])

    with pytest.raises(InvalidInput) as refused:
        understood()
    assert part in refused.value.message
    assert "secret" not in f"{refused.value.message} {refused.value.hint}"


ZENODO, HERITAGE = "https://zenodo.org/records/3242074", "https://archive.softwareheritage.org/browse"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.5281/zenodo.3242074", place(ZENODO)),
        ("doi:10.5281/Zenodo.3242074", place(ZENODO)),
        ("https://doi.org/10.5281/zenodo.3242074", place(ZENODO)),
        ("https://zenodo.org/doi/10.5281/zenodo.3242074", place(ZENODO)),
        ("https://zenodo.org/records/3242074", place(ZENODO)),
        ("https://www.zenodo.org/record/3242074/files/x.zip?download=1", place(ZENODO)),
        ("10.5072/zenodo.7", place("https://sandbox.zenodo.org/records/7")),
        (f"swh:1:rev:{COMMIT}", place(f"{HERITAGE}/revision/{COMMIT}")),
        (f"swh:1:dir:{COMMIT}", place(f"{HERITAGE}/directory/{COMMIT}")),
        (f"swh:1:dir:{COMMIT};origin=https://github.com/a/b", place(f"{HERITAGE}/directory/{COMMIT}")),
        (f"swh:1:dir:{'ab' * 20};anchor=swh:1:rev:{COMMIT};path=/x", place(f"{HERITAGE}/revision/{COMMIT}", path="x")),
        (f"{HERITAGE}/revision/{COMMIT}/", place(f"{HERITAGE}/revision/{COMMIT}")),
        (f"{HERITAGE}/directory/{COMMIT}", place(f"{HERITAGE}/directory/{COMMIT}")),
    ],
)
def test_what_an_archive_keeps_is_a_place(text: str, expected: Place) -> None:
    assert read(text) == expected
    assert read(str(expected.repository)) == Place(expected.repository)
    assert ArchiveSites().archived(expected.repository) is not None


def test_no_repository_is_taken_for_an_archives() -> None:
    for address in (
        "https://zenodo.org.evil.example/records/1",
        "https://zenodo.org/a/records/1",
        "https://zenodo.org/records/01",
        f"https://codeberg.org/browse/revision/{COMMIT}",
        f"{HERITAGE}/revision/{COMMIT[:12]}",
        f"{HERITAGE}/snapshot/{COMMIT}",
        "ssh://git@zenodo.org/records/1",
    ):
        assert ArchiveSites().archived(RepositoryUrl.parse(address)) is None


@pytest.mark.parametrize(
    "text",
    [
        "10.6084/m9.figshare.9782777.v1",
        "https://doi.org/10.21105/joss.01277",
        f"swh:1:rel:{COMMIT}",
        f"swh:1:snp:{COMMIT}",
        f"swh:1:cnt:{COMMIT};origin=https://github.com/a/b",
        "https://archive.softwareheritage.org/browse/directory/x/",
    ],
)
def test_what_only_an_archive_knows_is_refused_by_name(text: str) -> None:
    with pytest.raises(ArchiveUnsupported) as refused:
        read(text)
    assert refused.value.hint


def test_the_repository_an_archives_id_names_is_checked_like_any_other() -> None:
    for origin in ("ssh://git.example/a", "https://me:secret@git.example/a", "-oProxyCommand=x", "ext::sh"):
        with pytest.raises(InvalidAddress):
            read(f"swh:1:rev:{COMMIT};origin={origin}")


def test_every_way_to_tell_ref_and_path_apart_is_known_longest_first() -> None:
    found = read("https://github.com/a/b/tree/release/2.0/notes/x")
    assert found.candidates == ("release/2.0/notes/x", "release/2.0/notes", "release/2.0", "release")
    assert found.told_apart("release/2.0") == place("https://github.com/a/b", "release/2.0", "notes/x")
    assert read("https://github.com/a/b/tree/main/a.lock/b").candidates == ("main",)
    assert len(read("https://github.com/a/b/tree/" + "x/" * 500).candidates) == 20


SPECS = {
    ("gh", "a/b/main"): place("https://github.com/a/b", "main"),
    ("gh", "a/b/HEAD"): place("https://github.com/a/b"),
    ("gh", "a/b"): place("https://github.com/a/b"),
    ("gh", "a/b/feature/x"): place("https://github.com/a/b", "feature/x"),
    ("gh", "a/b/feature%2Fx"): place("https://github.com/a/b", "feature/x"),
    ("gl", "g%2Fs%2Fp/main"): place("https://gitlab.com/g/s/p", "main"),
    ("gl", "g%2Fp/a%2Fb"): place("https://gitlab.com/g/p", "a/b"),
    ("git", "https%3A%2F%2Fgit.example%3A8443%2Fa%2Fb.git/main"): place("https://git.example:8443/a/b.git", "main"),
    ("git", f"https%3a%2f%2fgit.example%2fa/{COMMIT}"): place("https://git.example/a", COMMIT),
    ("gist", "a/0123456789abcdef0123"): place("https://gist.github.com/0123456789abcdef0123.git"),
    ("gist", f"a/0123456789abcdef0123/{COMMIT}"): place("https://gist.github.com/0123456789abcdef0123.git", COMMIT),
    ("gist", "a/0123456789abcdef0123/master"): place("https://gist.github.com/0123456789abcdef0123.git", "master"),
    ("swh", SWH): place("https://github.com/a/b", COMMIT),
    ("swh", f"swh:1:rev:{COMMIT}/"): place(f"https://archive.softwareheritage.org/browse/revision/{COMMIT}"),
    ("zenodo", "10.5281/zenodo.3242074"): place("https://zenodo.org/records/3242074"),
    ("zenodo", "10.5281%2Fzenodo.3242074/"): place("https://zenodo.org/records/3242074"),
}


@pytest.mark.parametrize(("provider", "spec"), SPECS)
def test_links_of_binderhub_are_understood(provider: str, spec: str) -> None:
    assert read_spec(provider, spec) == SPECS[provider, spec]


@pytest.mark.parametrize(
    ("provider", "spec", "kind"),
    [
        ("nonsense", "a/b/main", UnknownProvider),
        ("gh", "a", InvalidAddress),
        ("gh", "a%2Fb/main", InvalidAddress),
        ("gh", "../b/main", InvalidAddress),
        ("gh", "a/b/--upload-pack=x", InvalidRef),
        ("gl", "g/p/main", InvalidAddress),
        ("git", "https://git.example/a/main", InvalidAddress),
        ("git", "ssh%3A%2F%2Fgit.example%2Fa/main", InvalidAddress),
        ("git", "ext%3A%3Ash%20-c%20touch%2Fx/main", InvalidAddress),
        ("git", "%2Fetc%2F/main", InvalidAddress),
        ("gist", "a/b%2Fc/main", InvalidAddress),
        ("zenodo", "10.6084/m9.figshare.9782777", ArchiveUnsupported),
        ("zenodo", "somebody/analysis", InvalidAddress),
        ("figshare", "10.6084/m9.figshare.9782777.v1", ArchiveUnsupported),
        ("swh", f"swh:1:snp:{COMMIT}", ArchiveUnsupported),
        ("swh", "a/b", InvalidAddress),
    ],
)
def test_links_that_name_no_repository_are_refused(provider: str, spec: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        read_spec(provider, spec)


@pytest.mark.parametrize(
    ("address", "canonical"),
    [
        ("git@git.example:a/b.git", "ssh://git@git.example/a/b.git"),
        (" ssh://git@GIT.example:2222/a/b.git ", "ssh://git@git.example:2222/a/b.git"),
    ],
)
def test_an_address_for_a_key_is_read_as_any(address: str, canonical: str) -> None:
    assert read(address) == place(canonical)
