"""The addresses that are accepted, in their one spelling, and those that are refused."""

import pytest

from guix_environment.errors import InvalidAddress, InvalidRef
from guix_environment.repository_url import RepositoryUrl, checked_ref, checked_subdirectory


@pytest.mark.parametrize(
    ("text", "canonical", "name"),
    [
        ("https://GitHub.com/a/b.git", "https://github.com/a/b.git", "b"),
        (" https://codeberg.org/a/b/ ", "https://codeberg.org/a/b", "b"),
        ("HTTPS://git.example:443/x", "https://git.example/x", "x"),
        ("http://127.0.0.1:3000/demo/analysis", "http://127.0.0.1:3000/demo/analysis", "analysis"),
        ("http://[::1]:3000/demo", "http://[::1]:3000/demo", "demo"),
        ("git@GitHub.com:a/b.git", "ssh://git@github.com/a/b.git", "b"),
        ("git@codeberg.org:/a/b/", "ssh://git@codeberg.org/a/b", "b"),
        ("SSH://git@Git.example:22/a/b", "ssh://git@git.example/a/b", "b"),
        ("ssh://Ada_1.x@git.example:2222/~ada/b", "ssh://Ada_1.x@git.example:2222/~ada/b", "b"),
        ("ssh://git@git.example:443/a", "ssh://git@git.example:443/a", "a"),
        ("git@[::1]:a", "ssh://git@[::1]/a", "a"),
        ("git@git.example:2222/a", "ssh://git@git.example/2222/a", "a"),
        ("file:///srv/repositories/plot", "file:///srv/repositories/plot", "plot"),
    ],
)
def test_an_address_has_one_spelling(text: str, canonical: str, name: str) -> None:
    address = RepositoryUrl.parse(text)
    assert str(address) == canonical
    assert address.name == name
    assert RepositoryUrl.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "analysis",
        "ext::sh -c id",
        "-oProxyCommand=id",
        "-oProxyCommand=id@host:a",
        "git@-oProxyCommand=id:a",
        "git@-oProxyCommand=id/x:a",
        "-ogit@host:a",
        "ssh://-oProxyCommand=id/a",
        "ssh://-oProxyCommand=id@host/a",
        "ssh://git@-host/a",
        "ssh://.git@host/a",
        "ssh://host/a",
        "ssh://@host/a",
        "ssh://git:secret@host/a",
        "git:secret@host:a",
        "ssh://git@git@host/a",
        "ssh://gi%74@host/a",
        "ssh://git$x@host/a",
        "ssh://git`id`@host/a",
        "ssh://git@host;id/a",
        "ssh://git@host:22:22/a",
        "ssh://git@host:0/a",
        "ssh://git@host:65536/a",
        "ssh://git@host:-1/a",
        "ssh://git@host:ssh/a",
        "ssh://git@host",
        "ssh://git@host/",
        "ssh://git@host/-a",
        "ssh://git@host/../a",
        "ssh://git@host/a'b",
        "ssh://git@host/a;id",
        "ssh://git@host/a\nb",
        "ssh://git@host/a\0b",
        "ssh://git@127.1/a",
        "ssh://git@0x7f000001/a",
        "ssh+git://git@host/a",
        "git+ssh://git@host/a",
        "host:a",
        "git@host",
        "git@host:",
        "git@host:/",
        "git@host::a",
        "git@ho st:a",
        "git@[::1:a",
        "ext::sh@host:a",
        "https://",
        "https://github.com",
        "https://github.com/",
        "https://user:secret@github.com/a/b",
        "http://127.0.0.1:P\\@allowed.example/",
        "https://ok.example\t.evil/x",
        "ht\ntps://x/y",
        "https://host/a?b=c",
        "https://host/a#b",
        "https://host/../b",
        "https://host/a/-b",
        "https://host/%2e%2e/b",
        "https://-host/a",
        "https://ho..st/a",
        "https://host./a",
        "https://①②⑦.⓪.⓪.①/a",
        "https://host:0/a",
        "https://host:99999/a",
        "file://host/srv",
        "https://host/" + "a" * 600,
    ],
)
def test_what_is_no_address_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InvalidAddress) as refusal:
        RepositoryUrl.parse(text)
    assert refusal.value.hint
    assert "secret" not in str(refusal.value.as_json())


def test_the_spellings_with_and_without_git_are_one_repository() -> None:
    with_suffix, without = RepositoryUrl.parse("https://h.example/a/b.git"), RepositoryUrl.parse("https://h.example/a/b")
    assert with_suffix.digest == without.digest
    assert without.digest != RepositoryUrl.parse("https://h.example/a/c").digest


@pytest.mark.parametrize("ref", ["main", "v1.0", "feature/plot", "a" * 40, "renovate/numpy-2.x"])
def test_refs_that_git_has(ref: str) -> None:
    assert checked_ref(ref) == ref


@pytest.mark.parametrize(
    "ref", ["", "-x", "--upload-pack=id", "a..b", "a b", "a~1", "a^", "a:b", "x.lock", "/a", "a/", "@{u}", "é"]
)
def test_refs_that_git_refuses(ref: str) -> None:
    with pytest.raises(InvalidRef):
        checked_ref(ref)


def test_a_subdirectory_stays_inside() -> None:
    assert checked_subdirectory("/notebooks/one/") == "notebooks/one"
    assert checked_subdirectory("") == ""
    for folder in ("../x", "a/../../x", "a//b", "a\\b", "-x"):
        with pytest.raises(InvalidAddress):
            checked_subdirectory(folder)
