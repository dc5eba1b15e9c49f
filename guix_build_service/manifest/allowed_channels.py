"""Which channels an installation uses: those of the administrator's list, told apart by where their authentication begins.

A channel's name and address are what somebody chose; its introduction, the first commit and the key that signed it, is what
`guix` authenticates every later commit against.  So a channel is allowed where introduction and address are both listed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from guix_build_service.manifest.channels import GUIX, ChannelWanted
from guix_build_service.manifest.values import Introduction
from guix_environment.errors import ChannelsRefused, InvalidInput

GUIX_ADDRESSES = (
    "https://git.guix.gnu.org/guix.git",
    "https://git.savannah.gnu.org/git/guix.git",
    "https://codeberg.org/guix/guix.git",
    "https://codeberg.org/guix/guix-mirror.git",
)
"""Addresses that Guix's own channel has and had."""


@dataclass(frozen=True, slots=True)
class AllowedChannel:
    """One channel that the administrator means."""

    name: str
    addresses: tuple[str, ...]
    introduction: Introduction

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> "AllowedChannel":
        """Return the channel of VALUE, with ``name``, ``url`` or ``urls``, ``commit`` and ``fingerprint``.

        Raises `InvalidInput` for anything else.
        """
        urls = value.get("urls", [value.get("url")])
        texts = [
            value.get("name"),
            value.get("commit"),
            value.get("fingerprint"),
            *(urls if isinstance(urls, list) else [None]),
        ]
        if not all(isinstance(text, str) and text for text in texts) or value.keys() - _KEYS:
            raise InvalidInput(
                "A channel of the list has not name, url, commit and fingerprint as texts.",
                hint='Such as {"name": "guix-science", "url": "https://…", "commit": "…", "fingerprint": "ABCD …"}.',
            )
        name, commit, fingerprint, *addresses = (str(text) for text in texts)
        return cls(name, tuple(addresses), Introduction(commit, "".join(fingerprint.upper().split())))


_KEYS = frozenset({"name", "url", "urls", "commit", "fingerprint"})


def _guix() -> AllowedChannel:
    introduction = GUIX.get("introduction")
    assert isinstance(introduction, Introduction)
    return AllowedChannel("guix", GUIX_ADDRESSES, introduction)


GUIX_CHANNEL = _guix()
"""Guix's own channel, which needs no entry in the list."""


def check_channels(wanted: Sequence[ChannelWanted], allowed: Sequence[AllowedChannel]) -> None:
    """Raise `ChannelsRefused` with everything that keeps WANTED from being used where ALLOWED alone are."""
    refused = [(channel, reason) for channel in wanted if (reason := refusal(channel, allowed))]
    if refused:
        sentences = "; ".join(f"{channel.name} (line {channel.place.line}): {reason}" for channel, reason in refused)
        raise ChannelsRefused(
            f"This hub does not use these channels: {sentences}.",
            hint="Leave them out, or ask the administrator to allow them.",
            details={
                "channels": [
                    {"name": channel.name, "line": channel.place.line, "reason": reason} for channel, reason in refused
                ]
            },
        )


def refusal(channel: ChannelWanted, allowed: Sequence[AllowedChannel]) -> str:
    """Return why CHANNEL is not one of ALLOWED, or an empty text where it is."""
    introduction = channel.introduction
    if introduction is None and channel.name == "guix" and channel.url in GUIX_ADDRESSES:
        # Guix itself adds the introduction of its own channel (``ensure-default-introduction``).
        introduction = GUIX_CHANNEL.introduction
    if introduction is None:
        return "it has no introduction, so nobody can say whose code it is"
    same = [entry for entry in (GUIX_CHANNEL, *allowed) if entry.introduction == introduction]
    if not same:
        return "its introduction is not one that the administrator has allowed"
    if not any(channel.url in entry.addresses for entry in same):
        return f"its address is not that of the channel {same[0].name}, whose introduction it has"
    return ""
