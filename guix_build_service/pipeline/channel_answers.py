"""What the script for channels is asked, and what its answers mean: nothing is started or written here."""

from collections.abc import Iterable, Sequence

from guix_build_service.manifest.allowed_channels import GUIX_CHANNEL, AllowedChannel
from guix_build_service.manifest.canonical import quoted
from guix_build_service.manifest.pinned_channels import FIELDS, PinnedChannel
from guix_build_service.manifest.syntax import Datum, Form, Symbol, Text
from guix_build_service.pipeline.guix import strange
from guix_environment.errors import (
    ChannelCommitNotFound,
    ChannelNotAuthentic,
    ChannelsRefused,
    ChannelTooOld,
    ChannelUnavailable,
    GuixSpawnerError,
    InvalidInput,
)
from guix_environment.identifiers import StorePath


def request(
    channels: Sequence[PinnedChannel], allowed: Sequence[AllowedChannel], root: str, *, silent_seconds: int, seconds: int
) -> str:
    """Return the datum that asks for the Guix of CHANNELS, to be held by the link ROOT.

    Channels that these depend on must be among those ALLOWED.
    """
    wanted = " ".join(_list(map(quoted, channel.fields())) for channel in channels)
    entries = " ".join(_entry(entry) for entry in (GUIX_CHANNEL, *allowed))
    return f"(({wanted}) ({entries}) {quoted(root)} {silent_seconds} {seconds})\n"


def _entry(entry: AllowedChannel) -> str:
    known = entry.introduction
    first = (known.commit, known.fingerprint) if known else ("", "")
    texts = [quoted(text) for text in (*first, entry.oldest)]
    return _list([quoted(entry.name), _list(map(quoted, entry.addresses)), *texts])


def _list(words: Iterable[str]) -> str:
    return "({})".format(" ".join(words))


def obtained(answer: Datum, channels: Sequence[PinnedChannel]) -> tuple[StorePath, tuple[PinnedChannel, ...]]:
    """Return the profile that ANSWER tells of, and all its channels: first CHANNELS, which were asked for.

    Raises what the script found: `ChannelsFailure`, `ChannelsRefused`; `BuildFailure` for an answer that is none.
    """
    match answer:
        case Form(items=(Symbol(name="ready"), Text(value=profile), Form(items=items))):
            found = tuple(_channel(item) for item in items)
            if [channel.name for channel in found[: len(channels)]] != [channel.name for channel in channels]:
                raise strange()
            return StorePath(profile), found
        case Form(items=(Symbol(name=kind), *words)) if all(isinstance(word, Text) for word in words):
            raise _failure(kind, [word.value for word in words if isinstance(word, Text)])
    raise strange()


def _channel(datum: Datum) -> PinnedChannel:
    texts = [item.value for item in datum.items if isinstance(item, Text)] if isinstance(datum, Form) else []
    try:
        return PinnedChannel.from_json(dict(zip(FIELDS, texts, strict=True)))
    except (InvalidInput, ValueError) as error:
        raise strange() from error


def _failure(kind: str, words: Sequence[str]) -> GuixSpawnerError:
    """Return the error of KIND, which the script found; WORDS are what it says of it."""
    match kind, words:
        case "unavailable", (name, said):
            return ChannelUnavailable(
                f"The channel {name} cannot be fetched: {said:.300}",
                hint="Try again later; if it goes on, tell the administrator.",
                details={"channel": name},
            )
        case "missing", (name, wanted):
            return ChannelCommitNotFound(
                f"The channel {name} has no {wanted:.100}.",
                hint="Correct the commit or the branch in channels.scm. It must have been pushed.",
                details={"channel": name, "commit": wanted},
            )
        case "old", (name, commit, oldest):
            return ChannelTooOld(
                f"The channel {name} is asked for at {commit:.12}, which does not come after {oldest:.12}, the oldest that "
                "this hub uses.",
                hint="Name a newer commit in channels.scm.",
                details={"channel": name, "commit": commit, "oldest": oldest},
            )
        case "unauthentic", (name, commit, said):
            return ChannelNotAuthentic(
                f"The channel {name} cannot be trusted at {commit:.12}: {said:.300}",
                hint="Name a commit that is signed by those who may. If it should be, tell the channel's authors.",
                details={"channel": name, "commit": commit},
            )
        case "refused", (name, url, depending):
            return ChannelsRefused(
                f"The channel {depending} needs the channel {name} from {url:.300}, which this hub does not use.",
                hint=f"Leave {depending} out, or ask the administrator to allow {name}: BuildService.allowed_channels.",
                details={"channels": [{"name": name, "url": url, "needed_by": depending}]},
            )
    return strange()
