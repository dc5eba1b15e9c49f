"""Channels files are data, and only channels that the administrator means are allowed."""

from dataclasses import replace

import pytest

from guix_build_service.manifest.allowed_channels import AllowedChannel, check_channels, refusal
from guix_build_service.manifest.channels import ChannelWanted, read_channels
from guix_build_service.manifest.pinned_channels import (
    PinnedChannel,
    channels_identity,
    channels_key,
    channels_text,
    pinned,
    still_allowed,
)
from guix_environment.errors import ChannelsFailure, ChannelsRefused, InvalidInput, ManifestUnreadable

COMMIT = "897c1a470da759236cc11798f4e0a5f7d4d59fbc"
KEY = "2A39 3FFF 68F4 EF7A 3D29  12AF 6F51 20A0 22FB B2D5"
INTRODUCTION = f'(introduction (make-channel-introduction "{COMMIT}" (openpgp-fingerprint "{KEY}")))'
LAB = f"""(channel
  (name 'lab)
  (url "https://git.example.org/lab.git")
  (branch "main")
  {INTRODUCTION})"""
OTHER = LAB.replace("'lab", "'other")
ALLOWED = AllowedChannel.from_json(
    {"name": "lab", "url": "https://git.example.org/lab.git", "commit": COMMIT, "fingerprint": KEY.lower()}
)


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        (f"(list {LAB})", "lab@main"),
        (f"(cons* {LAB} %default-channels)", "lab@main guix@master"),
        ("%default-channels", "guix@master"),
        (
            f"(use-modules (guix channels))\n(define lab {LAB})\n(append (list lab) %default-channels)",
            "lab@main guix@master",
        ),
        (
            '(map (lambda (one) (if (guix-channel? one) (channel (inherit one) (commit "abc1234")) one)) %default-channels)',
            "guix@abc1234",
        ),
        ('(channel (name \'guix) (url "https://git.guix.gnu.org/guix.git") (commit #f))', "guix@master"),
    ],
)
def test_channels_are_read(text: str, channels: str) -> None:
    found = read_channels(text, file="channels.scm").channels
    assert " ".join(f"{channel.name}@{channel.commit or channel.branch}" for channel in found) == channels


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('(list (channel (name guix) (url "https://x.example/")))', 1, "quoted word"),
        ("(list (channel (name 'x)))", 1, "has no address"),
        ('(list\n (channel (name \'x) (url (getenv "HOME"))))', 2, "HOME"),
        ('(list (channel (name \'x) (url "https://x.example/") (evil (system "id"))))', 1, "no field"),
        ('(list (channel (name \'x) (url (system "id"))))', 1, "would run a program"),
        ('(list (channel (name \'x) (url "ext::sh -c id")))', 1, "has no address"),
        ('(list (channel (name \'x) (url "https://x.example/") (commit "--upload-pack=id")))', 1, "the commit of"),
        ('(list (channel (name \'../x) (url "https://x.example/")))', 1, "quoted word"),
        ('(list (channel (name \'x) (url "https://x.example/") (introduction "none")))', 1, "introduction"),
        ('(make-channel-introduction "x" (openpgp-fingerprint "AB"))', 1, "not the fingerprint"),
        (f"(list {LAB}\n{LAB})", 1, "two channels are named lab"),
        ("(list)", 1, "names 0 channels"),
        ("(specifications->manifest '())", 1, "which the file does not use"),
        ('(list (channel-with-substitutes-available %default-guix-channel "https://ci.guix.gnu.org"))', 1, "not a form"),
        ("(channel (inherit 1))", 1, "a channel is expected"),
    ],
)
def test_other_channels_files_are_refused(text: str, line: int, words: str) -> None:
    with pytest.raises(ManifestUnreadable) as raised:
        read_channels(text, file="channels.scm")
    assert words in raised.value.message
    assert raised.value.details["line"] == line


def lab(text: str = LAB) -> ChannelWanted:
    return read_channels(f"(list {text})").channels[0]


def test_a_channel_is_known_by_its_introduction_and_its_address() -> None:
    assert not refusal(lab(), [ALLOWED])
    assert not refusal(lab(LAB.replace("'lab", "'another-name")), [ALLOWED])
    assert "not one that the administrator" in refusal(lab(), [])
    assert "not one that the administrator" in refusal(lab(LAB.replace("B2D5", "B2D6")), [ALLOWED])
    assert "not one that the administrator" in refusal(lab(LAB.replace("897c", "897d")), [ALLOWED])
    assert "its address is not" in refusal(lab(LAB.replace("example.org", "example.com")), [ALLOWED])
    assert "no introduction" in refusal(lab(LAB.replace(INTRODUCTION, "")), [ALLOWED])


def test_guix_itself_needs_no_introduction_at_its_own_addresses() -> None:
    guix = '(channel (name \'guix) (url "https://git.savannah.gnu.org/git/guix.git"))'
    assert not refusal(lab(guix), [])
    assert "no introduction" in refusal(lab(guix.replace("savannah", "savanna")), [])
    assert "no introduction" in refusal(lab(guix.replace("'guix", "'other")), [])


def test_all_that_is_refused_is_named_at_once() -> None:
    wanted = read_channels(f'(list {LAB}\n(channel (name \'x) (url "https://x.example/")))').channels
    with pytest.raises(ChannelsRefused) as raised:
        check_channels(wanted, [])
    assert [item["name"] for item in raised.value.details["channels"]] == ["lab", "x"]  # type: ignore[attr-defined]
    check_channels(wanted[:1], [ALLOWED])


WHOLE = {"name": "x", "url": "https://x.example/", "commit": COMMIT, "fingerprint": KEY}


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"name": "x", "url": "y", "commit": "z"},
        {"name": "x", "url": 1},
        WHOLE | {"evil": "x"},
        WHOLE | {"name": "(x)"},
        WHOLE | {"name": "1"},
        WHOLE | {"urls": []},
        WHOLE | {"urls": "https://x.example/"},
        WHOLE | {"commit": COMMIT[:7]},
        WHOLE | {"fingerprint": "AB CD"},
        WHOLE | {"oldest": "v1.0"},
        WHOLE | {"unauthenticated": True},
        WHOLE | {"unauthenticated": False},
        {"name": "x", "url": "https://x.example/", "unauthenticated": "yes"},
    ],
)
def test_a_list_entry_that_is_none_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        AllowedChannel.from_json(value)


def test_the_channel_named_guix_is_guix_and_no_other_is() -> None:
    impostor = LAB.replace("'lab", "'guix")
    assert "Guix itself is made of the channel named guix alone" in refusal(lab(impostor), [ALLOWED])
    renamed = "(channel (inherit %default-guix-channel) (name 'mine))"
    assert "it is the channel guix" in refusal(read_channels(f"(list {renamed})").channels[0], [])


def test_what_the_administrator_would_write_is_told() -> None:
    with pytest.raises(ChannelsRefused) as raised:
        check_channels([lab()], [])
    told = raised.value.details["channels"]
    assert isinstance(told, list)
    assert [AllowedChannel.from_json(channel["entry"]) for channel in told] == [ALLOWED]


def test_only_the_administrator_has_a_channel_used_without_authentication() -> None:
    plain = lab('(channel (name \'lab) (url "file:///srv/lab"))')
    entry = AllowedChannel.from_json({"name": "lab", "url": "file:///srv/lab", "unauthenticated": True})
    assert refusal(plain, [entry]) == ""
    assert "no introduction" in refusal(plain, [ALLOWED])
    assert "no introduction" in refusal(lab('(channel (name \'lab) (url "file:///srv/other"))'), [entry])


def canonical(text: str, *allowed: AllowedChannel) -> tuple[PinnedChannel, ...]:
    return pinned(read_channels(text).channels, allowed, "channels.scm")


def test_channels_are_written_anew_in_one_way() -> None:
    release = f'(channel (inherit %default-guix-channel) (commit "{COMMIT}"))'
    found = canonical(f'(list (channel (inherit {OTHER}) (commit "{COMMIT}")) {release})', ALLOWED)
    assert (
        channels_text(found)
        == f"""(list (channel (name 'guix)
         (url "https://git.guix.gnu.org/guix.git")
         (branch "master")
         (commit "{COMMIT}")
         (introduction (make-channel-introduction "9edb3f66fd807b096b48283debdcddccfea34bad" \
(openpgp-fingerprint "BBB02DDF2CEAF6A80D1DE643A2A06DF2A33A54FA"))))
      (channel (name 'lab)
         (url "https://git.example.org/lab.git")
         (branch "main")
         (commit "{COMMIT}")
         (introduction (make-channel-introduction "{COMMIT}" \
(openpgp-fingerprint "{"".join(KEY.split())}")))))
"""
    )
    assert canonical(f'(list {release} (channel (inherit {LAB}) (commit "{COMMIT}")))', ALLOWED) == found
    assert [channel.is_pinned for channel in canonical(f"(list {release} {LAB})", ALLOWED)] == [True, False]
    assert [PinnedChannel.from_json(channel.as_json()) for channel in found] == list(found)


def test_what_was_checked_is_of_the_key_and_what_it_gives_of_the_identity() -> None:
    release = f'(list (channel (inherit %default-guix-channel) (commit "{COMMIT}")) {LAB})'
    plain, newer = (canonical(release, ALLOWED), canonical(release, replace(ALLOWED, oldest=COMMIT)))
    assert channels_key(plain) != channels_key(newer)
    assert channels_identity(plain) == channels_identity(newer)
    assert channels_identity(plain) != channels_identity(plain[:1])
    assert still_allowed(plain, [ALLOWED])
    assert not still_allowed(plain, [])
    assert not still_allowed(plain, [replace(ALLOWED, oldest=COMMIT)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"(list {LAB})", "does not name the channel guix"),
        (f"(cons* {LAB} {OTHER} %default-channels)", "names the channel lab twice"),
    ],
)
def test_channels_that_make_no_guix_are_refused(text: str, words: str) -> None:
    with pytest.raises(ChannelsFailure, match=words):
        canonical(text, ALLOWED)
