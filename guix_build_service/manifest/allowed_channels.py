"""Which channels an installation uses: those of the administrator's list, told apart by where their authentication begins.

A channel's name and address are what somebody chose; its introduction, the first commit and the key that signed it, is what
`guix` authenticates every later commit against.  So a channel is allowed where introduction and address are both listed.
"""

import re
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

OLDEST_GUIX = "8e2f32cee982d42a79e53fc1e9aa7b8ff0514714"
"""The release 1.4.0; whether sessions can use what older ones build was never tried."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._+-]{0,63}")
_ADDRESS = re.compile(r"[\x21-\x7e]{1,500}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")


@dataclass(frozen=True, slots=True)
class AllowedChannel:
    """One channel that the administrator means."""

    name: str
    addresses: tuple[str, ...]
    introduction: Introduction | None
    """None for a channel that is not authenticated, because the administrator says so."""
    oldest: str = ""
    """The oldest commit that may be used; empty where any may."""

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> "AllowedChannel":
        """Return the channel of VALUE.

        It has ``name``, ``url`` or ``urls``, ``commit`` and ``fingerprint`` of its introduction, or ``unauthenticated``
        instead of these two, and perhaps ``oldest``.  Raises `InvalidInput` for anything else.
        """
        urls = value.get("urls", [value.get("url")])
        addresses = [_text(url, _ADDRESS) for url in urls] if isinstance(urls, list) else []
        name, oldest = _text(value.get("name"), _NAME), _text(value.get("oldest", "0" * 40), _COMMIT)
        open_to_all = value.get("unauthenticated") is True and not value.keys() & {"commit", "fingerprint"}
        introduction = None if open_to_all else _introduction(value)
        known = value.keys() <= _KEYS and (open_to_all or "unauthenticated" not in value)
        if not (known and name and oldest and addresses and all(addresses) and (open_to_all or introduction)):
            raise InvalidInput(
                "A channel of the list has not name, url, commit and fingerprint as texts.",
                hint='Such as {"name": "guix-science", "url": "https://…", "commit": "…", "fingerprint": "ABCD …"}.',
            )
        return cls(name, tuple(addresses), introduction, oldest if "oldest" in value else "")


_KEYS = frozenset({"name", "url", "urls", "commit", "fingerprint", "unauthenticated", "oldest"})


def _text(value: object, form: re.Pattern[str]) -> str:
    return value if isinstance(value, str) and form.fullmatch(value) else ""


def _introduction(value: Mapping[str, object]) -> Introduction | None:
    fingerprint = "".join(str(value.get("fingerprint", "")).upper().split())
    commit = _text(value.get("commit"), _COMMIT)
    return Introduction(commit, fingerprint) if commit and _FINGERPRINT.fullmatch(fingerprint) else None


def _guix() -> AllowedChannel:
    introduction = GUIX.get("introduction")
    assert isinstance(introduction, Introduction)
    return AllowedChannel("guix", GUIX_ADDRESSES, introduction, OLDEST_GUIX)


GUIX_CHANNEL = _guix()
"""Guix's own channel, which needs no entry in the list."""


def check_channels(wanted: Sequence[ChannelWanted], allowed: Sequence[AllowedChannel]) -> tuple[AllowedChannel, ...]:
    """Return the entries of ALLOWED that WANTED are, in their order.

    Raises `ChannelsRefused` with everything that keeps WANTED from being used, and what the administrator would write.
    """
    refused = [(channel, reason) for channel in wanted if (reason := refusal(channel, allowed))]
    if refused:
        sentences = "; ".join(f"{channel.name} (line {channel.place.line}): {reason}" for channel, reason in refused)
        raise ChannelsRefused(
            f"This hub does not use these channels: {sentences}.",
            hint="Leave them out, or ask the administrator to allow them: BuildService.allowed_channels.",
            details={
                "channels": [
                    {"name": channel.name, "line": channel.place.line, "reason": reason, "entry": _entry(channel)}
                    for channel, reason in refused
                ]
            },
        )
    return tuple(entry for channel in wanted if (entry := _meant(channel, allowed)))


def refusal(channel: ChannelWanted, allowed: Sequence[AllowedChannel]) -> str:
    """Return why CHANNEL is not one of ALLOWED, or an empty text where it is."""
    if _meant(channel, allowed):
        return ""
    introduction = _introduction_of(channel)
    if introduction is None:
        return "it has no introduction, so nobody can say whose code it is"
    same = [entry for entry in (GUIX_CHANNEL, *allowed) if entry.introduction == introduction]
    if not same:
        return "its introduction is not one that the administrator has allowed"
    if not any(channel.url in entry.addresses for entry in same):
        return f"its address is not that of the channel {same[0].name}, whose introduction it has"
    return f"it is the channel {same[0].name}, and Guix itself is made of the channel named guix alone"


def _meant(channel: ChannelWanted, allowed: Sequence[AllowedChannel]) -> AllowedChannel | None:
    """Return the one of ALLOWED that CHANNEL is."""
    introduction = _introduction_of(channel)
    for entry in (GUIX_CHANNEL, *allowed):
        known = entry.introduction is None or entry.introduction == introduction
        # The channel named guix is Guix: its programs run, where others give packages.
        named = (channel.name == "guix") == (entry.name == "guix")
        if known and named and channel.url in entry.addresses:
            return entry
    return None


def _introduction_of(channel: ChannelWanted) -> Introduction | None:
    if channel.introduction is None and channel.name == "guix" and channel.url in GUIX_ADDRESSES:
        # Guix itself adds the introduction of its own channel (``ensure-default-introduction``).
        return GUIX_CHANNEL.introduction
    return channel.introduction


def _entry(channel: ChannelWanted) -> dict[str, str] | None:
    """Return what the administrator would write into the list to allow CHANNEL; None where that would not do."""
    known = channel.introduction
    if known is None:
        return None
    return {"name": channel.name, "url": channel.url, "commit": known.commit, "fingerprint": known.fingerprint}
