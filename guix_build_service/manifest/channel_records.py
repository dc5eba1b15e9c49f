"""The records that channels are written with: in channels files, and in manifests that ask other versions of Guix.

The forms are those of ``guix/channels.scm``.  A record is only made here; `channels` says which of them can be used.
"""

import re
from collections.abc import Mapping

from guix_build_service.manifest.evaluation import Evaluation, Known, Level, Scope, Special
from guix_build_service.manifest.lists import taking
from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.syntax import Form, Position, Symbol
from guix_build_service.manifest.values import Channel, Introduction, Value, Word, kind_of

_EXAMPLE = """(list (channel
        (name 'guix)
        (url "https://git.guix.gnu.org/guix.git")
        (commit "...")))"""

NAME_CHANNELS = f"Write each channel with its own words, such as:\n{_EXAMPLE}"
"""What to do where a channel is not read, for hints."""

MODULES = (("guix", "channels"),)
"""Where the records are from."""

_FIELDS = frozenset({"name", "url", "branch", "commit", "introduction", "location"})
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")


def _channel(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    """Return the record that ``(channel (FIELD VALUE) ...)`` makes."""
    fields: dict[str, Value] = {}
    for item in form.items[1:]:
        match item:
            case Form(items=(Symbol(name="inherit"), other), tail=None) if not fields:
                inherited = evaluation.one(other, scope)
                if not isinstance(inherited, Channel):
                    expected = f"a channel is expected here, not {kind_of(inherited)}."
                    raise unreadable(item.position, expected, hint=NAME_CHANNELS)
                fields.update(inherited.fields)
            case Form(items=(Symbol(name=name), value), tail=None) if name in _FIELDS:
                fields[name] = evaluation.one(value, scope)
            case _:
                raise unreadable(item.position, "this is no field of a channel.", hint=NAME_CHANNELS)
    return Channel(tuple(sorted(fields.items(), key=lambda field: field[0])), form.position)


def _introduction(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    commit = evaluation.text(arguments[0], position)
    fingerprint = arguments[1]
    if not _COMMIT.fullmatch(commit) or not isinstance(fingerprint, Word):
        raise unreadable(position, "an introduction is a commit and an openpgp-fingerprint.", hint=NAME_CHANNELS)
    return Introduction(commit, fingerprint.name)


def _fingerprint(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    text = re.sub(r"[^0-9A-F]", "", evaluation.text(arguments[0], position).upper())
    if not _FINGERPRINT.fullmatch(text):
        raise unreadable(position, "this is not the fingerprint of a key: 40 hexadecimal digits are.")
    return Word(text)


CHANNEL_RECORDS: Mapping[str, Special | Known] = {
    "channel": Special(MODULES, _channel, Level.LITERAL),
    "make-channel-introduction": Known(MODULES, taking(2, 2, _introduction), Level.LITERAL),
    "openpgp-fingerprint": Known(MODULES, taking(1, 1, _fingerprint), Level.LITERAL),
}
"""By their names."""
