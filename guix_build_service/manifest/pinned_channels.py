"""The channels that an environment is made from, as the build service itself writes them for Guix."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from guix_build_service.manifest.allowed_channels import GUIX_CHANNEL, AllowedChannel, check_channels
from guix_build_service.manifest.canonical import quoted
from guix_build_service.manifest.channel_records import NAME_CHANNELS
from guix_build_service.manifest.channels import ChannelWanted
from guix_build_service.manifest.values import Introduction
from guix_environment.errors import ChannelsFailure, InvalidInput

_FULL = 40
FIELDS = ("name", "url", "branch", "commit", "introduction_commit", "fingerprint", "oldest")
"""What is written down of a channel."""


@dataclass(frozen=True, slots=True)
class PinnedChannel:
    """One channel that the administrator allows, at a commit."""

    name: str
    url: str
    branch: str
    commit: str
    """A full commit; until Guix has looked also the beginning of one, a tag, or nothing for the newest."""
    introduction: Introduction | None
    """None where the administrator has it used without authentication."""
    oldest: str = ""
    """The oldest commit that the administrator allows; empty where any may be used."""

    @property
    def is_pinned(self) -> bool:
        """Whether the commit is known in full."""
        return len(self.commit) == _FULL and all(digit in "0123456789abcdef" for digit in self.commit)

    def fields(self) -> tuple[str, ...]:
        """Return everything of the channel as texts, in the order of `as_json`; an empty one where there is none."""
        known = self.introduction
        first = (known.commit, known.fingerprint) if known else ("", "")
        return (self.name, self.url, self.branch, self.commit, *first, self.oldest)

    def as_json(self) -> dict[str, str]:
        """Return the channel, to be written down."""
        return dict(zip(FIELDS, self.fields(), strict=True))

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> "PinnedChannel":
        """Return the channel that `as_json` wrote.  Raises `InvalidInput` for anything else."""
        texts = [value.get(name) for name in FIELDS]
        if not all(isinstance(text, str) for text in texts):
            raise InvalidInput("This is no channel.")
        name, url, branch, commit, first, key, oldest = map(str, texts)
        return cls(name, url, branch, commit, Introduction(first, key) if first else None, oldest)

    def expression(self) -> str:
        """Return the Scheme expression of the channel in a channels file."""
        lines = [f"(name '{self.name})", f"(url {quoted(self.url)})", f"(branch {quoted(self.branch)})"]
        lines.append(f"(commit {quoted(self.commit)})")
        if self.introduction:
            key = quoted(self.introduction.fingerprint)
            lines.append(
                f"(introduction (make-channel-introduction {quoted(self.introduction.commit)} (openpgp-fingerprint {key})))"
            )
        return "(channel {})".format("\n         ".join(lines))


def pinned(wanted: Sequence[ChannelWanted], allowed: Sequence[AllowedChannel], file: str) -> tuple[PinnedChannel, ...]:
    """Return the channels of FILE that are WANTED, each as its entry of ALLOWED has it: Guix's own first, others by name.

    The name is the administrator's.  Raises `ChannelsRefused`, and `ChannelsFailure` where no Guix can be made of them.
    """
    entries = check_channels(wanted, allowed)
    found = [
        PinnedChannel(entry.name, channel.url, channel.branch, channel.commit, entry.introduction, entry.oldest)
        for channel, entry in zip(wanted, entries, strict=True)
    ]
    names = [channel.name for channel in found]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise ChannelsFailure(f"{file} names the channel {twice} twice.", hint="Leave one of them out.")
    if GUIX_CHANNEL.name not in names:
        raise ChannelsFailure(
            f"{file} does not name the channel guix, of which Guix itself is made.",
            hint=f"Add it, as with (cons (channel …) %default-channels). {NAME_CHANNELS}",
        )
    return tuple(sorted(found, key=lambda channel: (channel.name != GUIX_CHANNEL.name, channel.name)))


def still_allowed(channels: Sequence[PinnedChannel], allowed: Sequence[AllowedChannel]) -> bool:
    """Tell whether CHANNELS, of which a Guix was made, would be allowed today as they were then."""
    return all(
        any(
            (entry.name, entry.introduction, entry.oldest) == (channel.name, channel.introduction, channel.oldest)
            and channel.url in entry.addresses
            for entry in (GUIX_CHANNEL, *allowed)
        )
        for channel in channels
    )


def channels_text(channels: Sequence[PinnedChannel]) -> str:
    """Return the channels file that names exactly CHANNELS: always the same text for the same ones."""
    text = "(list {})\n".format("\n      ".join(channel.expression() for channel in channels))
    unsigned = [channel.name for channel in channels if channel.introduction is None]
    if unsigned:
        return (
            f";; Not authenticated, as the administrator of the hub has it: {', '.join(unsigned)}.\n"
            f";; Guix uses them elsewhere only with --disable-authentication, which trusts whoever can write there.\n{text}"
        )
    return text


def channels_key(channels: Sequence[PinnedChannel]) -> str:
    """Return the name of the Guix that CHANNELS make, with everything that was checked about them."""
    return _digest([channel.fields() for channel in channels])


def channels_identity(channels: Sequence[PinnedChannel]) -> str:
    """Return what tells the packages of CHANNELS, which are all that there are, from those of others."""
    return _digest([replace(channel, introduction=None, oldest="").fields() for channel in channels])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(["channels", value]).encode()).hexdigest()[:32]
