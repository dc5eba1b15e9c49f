"""Channels files as data: which channels a repository wants its packages from.

A channel's code runs in the client that fetches it, so the file is never loaded, and what it says counts only where the
administrator allows that very channel (`allowed_channels`).  The forms are those of ``guix/channels.scm``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from guix_build_service.manifest.channel_records import MODULES, NAME_CHANNELS
from guix_build_service.manifest.evaluation import Constant, Evaluation, Known, Level, Vocabulary
from guix_build_service.manifest.grammar import VOCABULARY as MANIFESTS
from guix_build_service.manifest.grammar import evaluated
from guix_build_service.manifest.lists import taking
from guix_build_service.manifest.modules import Import
from guix_build_service.manifest.neighbours import Neighbours
from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.syntax import Position
from guix_build_service.manifest.values import Channel, Introduction, Value, Word, kind_of

_MOST_CHANNELS = 30
_TEXT = re.compile(r"[\x21-\x7e]{1,500}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")

GUIX = Channel(
    (
        ("branch", "master"),
        (
            "introduction",
            Introduction("9edb3f66fd807b096b48283debdcddccfea34bad", "BBB02DDF2CEAF6A80D1DE643A2A06DF2A33A54FA"),
        ),
        ("name", Word("guix")),
        ("url", "https://git.guix.gnu.org/guix.git"),
    ),
    Position(1, 1),
)
"""``%default-guix-channel`` of Guix 1.5.0."""


@dataclass(frozen=True, slots=True)
class ChannelWanted:
    """One channel that a repository names."""

    name: str
    url: str
    branch: str
    commit: str
    """The commit, or a name of one; empty for whatever is newest."""
    introduction: Introduction | None
    """Where its authentication begins; without one nobody can say whose code it is."""
    place: Position

    def as_json(self) -> dict[str, object]:
        """Return the channel for programs."""
        known = self.introduction
        introduction = {"commit": known.commit, "fingerprint": known.fingerprint} if known else None
        return {
            "name": self.name,
            "url": self.url,
            "branch": self.branch,
            "commit": self.commit or None,
            "introduction": introduction,
            "line": self.place.line,
        }


@dataclass(frozen=True, slots=True)
class ChannelsReading:
    """What a channels file says."""

    channels: tuple[ChannelWanted, ...]
    level: Level


def read_channels(text: str, *, file: str = "", files: Mapping[str, str | None] | None = None) -> ChannelsReading:
    """Return the channels that TEXT names, which is FILE of its repository; FILES are as for `read_manifest`.

    Raises `ManifestUnreadable` and `NeighbourNeeded`.
    """
    evaluation = Evaluation(VOCABULARY, neighbours=Neighbours(files or {}), imports=_IMPORTS)
    place, value = evaluated(evaluation, text, file)
    found = []
    for item in value if isinstance(value, tuple) else (value,):
        if not isinstance(item, Channel):
            raise unreadable(place, f"the file ends with {kind_of(item)}, not with channels.", hint=NAME_CHANNELS)
        found.append(_wanted(item))
    if not found or len(found) > _MOST_CHANNELS:
        raise unreadable(place, f"it names {len(found)} channels; one to {_MOST_CHANNELS} are read.", hint=NAME_CHANNELS)
    names = [channel.name for channel in found]
    for channel in found:
        if names.count(channel.name) > 1:
            raise unreadable(channel.place, f"two channels are named {channel.name}.", hint=NAME_CHANNELS)
    return ChannelsReading(tuple(found), evaluation.level)


def _wanted(channel: Channel) -> ChannelWanted:
    place = channel.place
    match channel.get("name"):
        case Word(name=name) if _NAME.fullmatch(name):
            pass
        case _:
            raise unreadable(place, "the name of a channel is a quoted word, such as 'guix.", hint=NAME_CHANNELS)
    introduction = channel.get("introduction")
    if introduction is not None and introduction is not False and not isinstance(introduction, Introduction):
        raise unreadable(place, f"the introduction of the channel {name} is none.", hint=NAME_CHANNELS)
    url = channel.get("url")
    if not isinstance(url, str) or not _TEXT.fullmatch(url):
        raise unreadable(place, f"the channel {name} has no address.", hint=NAME_CHANNELS)
    texts = {field: _optional(channel, field, name) for field in ("branch", "commit")}
    known = introduction if isinstance(introduction, Introduction) else None
    return ChannelWanted(name, url, texts["branch"] or "master", texts["commit"], known, place)


def _optional(channel: Channel, field: str, name: str) -> str:
    value = channel.get(field)
    if value is None or value is False:
        return ""
    if isinstance(value, str) and _TEXT.fullmatch(value) and not value.startswith("-"):
        return value
    raise unreadable(channel.place, f"the {field} of the channel {name} is none.", hint=NAME_CHANNELS)


def _of(channel: Value, field: str, position: Position) -> Value:
    if isinstance(channel, Channel):
        value = channel.get(field)
        return False if value is None else value
    raise unreadable(position, f"a channel is expected here, not {kind_of(channel)}.", hint=NAME_CHANNELS)


def _field(name: str) -> Known:
    return Known(MODULES, taking(1, 1, lambda _evaluation, arguments, position: _of(arguments[0], name, position)))


def _is_guix(_evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return _of(arguments[0], "name", position) == Word("guix")


_IMPORTS = (Import(MODULES[0]),)

VOCABULARY: Vocabulary = {
    **MANIFESTS,
    "%default-guix-channel": Constant(MODULES, GUIX),
    "%default-channels": Constant(MODULES, (GUIX,)),
    "guix-channel?": Known(MODULES, taking(1, 1, _is_guix), Level.PROCEDURES),
    **{f"channel-{name}": _field(name) for name in ("name", "url", "branch", "commit")},
}
"""All that is understood in a channels file."""
