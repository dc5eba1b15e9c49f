"""Channels files as data: which channels a repository wants its packages from.

A channel's code runs in the client that fetches it, so the file is never loaded, and what it says counts only where the
administrator allows that very channel (`allowed_channels`).  The forms are those of ``guix/channels.scm``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from guix_build_service.manifest.evaluation import Constant, Evaluation, Known, Level, Scope, Special, Vocabulary
from guix_build_service.manifest.grammar import VOCABULARY as MANIFESTS
from guix_build_service.manifest.grammar import evaluated
from guix_build_service.manifest.lists import taking
from guix_build_service.manifest.modules import Import
from guix_build_service.manifest.neighbours import Neighbours
from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.syntax import Form, Position, Symbol
from guix_build_service.manifest.values import Channel, Introduction, Value, Word, kind_of

EXAMPLE = """(list (channel
        (name 'guix)
        (url "https://git.guix.gnu.org/guix.git")
        (commit "...")))"""

_HINT = f"Write each channel with its own words, such as:\n{EXAMPLE}"
_MOST_CHANNELS = 30
_FIELDS = frozenset({"name", "url", "branch", "commit", "introduction", "location"})
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_TEXT = re.compile(r"[\x21-\x7e]{1,500}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")

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
            raise unreadable(place, f"the file ends with {kind_of(item)}, not with channels.", hint=_HINT)
        found.append(_wanted(item))
    if not found or len(found) > _MOST_CHANNELS:
        raise unreadable(place, f"it names {len(found)} channels; one to {_MOST_CHANNELS} are read.", hint=_HINT)
    names = [channel.name for channel in found]
    for channel in found:
        if names.count(channel.name) > 1:
            raise unreadable(channel.place, f"two channels are named {channel.name}.", hint=_HINT)
    return ChannelsReading(tuple(found), evaluation.level)


def _channel(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    """Return the record that ``(channel (FIELD VALUE) ...)`` makes."""
    fields: dict[str, Value] = {}
    for item in form.items[1:]:
        match item:
            case Form(items=(Symbol(name="inherit"), other), tail=None) if not fields:
                inherited = evaluation.one(other, scope)
                if not isinstance(inherited, Channel):
                    raise unreadable(item.position, f"a channel is expected here, not {kind_of(inherited)}.", hint=_HINT)
                fields.update(inherited.fields)
            case Form(items=(Symbol(name=name), value), tail=None) if name in _FIELDS:
                fields[name] = evaluation.one(value, scope)
            case _:
                raise unreadable(item.position, "this is no field of a channel.", hint=_HINT)
    return Channel(tuple(sorted(fields.items(), key=lambda field: field[0])), form.position)


def _wanted(channel: Channel) -> ChannelWanted:
    place = channel.place
    match channel.get("name"):
        case Word(name=name) if _NAME.fullmatch(name):
            pass
        case _:
            raise unreadable(place, "the name of a channel is a quoted word, such as 'guix.", hint=_HINT)
    introduction = channel.get("introduction")
    if introduction is not None and introduction is not False and not isinstance(introduction, Introduction):
        raise unreadable(place, f"the introduction of the channel {name} is none.", hint=_HINT)
    url = channel.get("url")
    if not isinstance(url, str) or not _TEXT.fullmatch(url):
        raise unreadable(place, f"the channel {name} has no address.", hint=_HINT)
    texts = {field: _optional(channel, field, name) for field in ("branch", "commit")}
    known = introduction if isinstance(introduction, Introduction) else None
    return ChannelWanted(name, url, texts["branch"] or "master", texts["commit"], known, place)


def _optional(channel: Channel, field: str, name: str) -> str:
    value = channel.get(field)
    if value is None or value is False:
        return ""
    if isinstance(value, str) and _TEXT.fullmatch(value) and not value.startswith("-"):
        return value
    raise unreadable(channel.place, f"the {field} of the channel {name} is none.", hint=_HINT)


def _introduction(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    commit = evaluation.text(arguments[0], position)
    fingerprint = arguments[1]
    if not _COMMIT.fullmatch(commit) or not isinstance(fingerprint, Word):
        raise unreadable(position, "an introduction is a commit and an openpgp-fingerprint.", hint=_HINT)
    return Introduction(commit, fingerprint.name)


def _fingerprint(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    text = re.sub(r"[^0-9A-F]", "", evaluation.text(arguments[0], position).upper())
    if not _FINGERPRINT.fullmatch(text):
        raise unreadable(position, "this is not the fingerprint of a key: 40 hexadecimal digits are.")
    return Word(text)


def _of(channel: Value, field: str, position: Position) -> Value:
    if isinstance(channel, Channel):
        value = channel.get(field)
        return False if value is None else value
    raise unreadable(position, f"a channel is expected here, not {kind_of(channel)}.", hint=_HINT)


def _field(name: str) -> Known:
    return Known(_MODULES, taking(1, 1, lambda _evaluation, arguments, position: _of(arguments[0], name, position)))


def _is_guix(_evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return _of(arguments[0], "name", position) == Word("guix")


_MODULES = (("guix", "channels"),)
_IMPORTS = (Import(_MODULES[0]),)

VOCABULARY: Vocabulary = {
    **MANIFESTS,
    "channel": Special(_MODULES, _channel, Level.LITERAL),
    "make-channel-introduction": Known(_MODULES, taking(2, 2, _introduction), Level.LITERAL),
    "openpgp-fingerprint": Known(_MODULES, taking(1, 1, _fingerprint), Level.LITERAL),
    "%default-guix-channel": Constant(_MODULES, GUIX),
    "%default-channels": Constant(_MODULES, (GUIX,)),
    "guix-channel?": Known(_MODULES, taking(1, 1, _is_guix), Level.PROCEDURES),
    **{f"channel-{name}": _field(name) for name in ("name", "url", "branch", "commit")},
}
"""All that is understood in a channels file."""
