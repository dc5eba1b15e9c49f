"""How a command ends: its exit status, and what keeps it from doing what it was asked for."""

from collections.abc import Mapping
from enum import IntEnum
from http import HTTPStatus

from guix_environment.errors import GuixSpawnerError


class ExitStatus(IntEnum):
    """What a script sees of how a command ended."""

    DONE = 0
    """It was done."""
    REFUSED = 1
    """It was not done, for a reason that has no status of its own."""
    MISUSED = 2
    """The command, its settings or a file that it was given cannot be used."""
    UNREACHABLE = 3
    """The service does not answer, or not as this service does."""
    NOT_ALLOWED = 4
    """There is no token, or it does not allow this; or the service's folder is another account's."""
    NOT_FOUND = 5
    """There is no such thing, or not for this person."""
    TOO_MUCH = 6
    """A limit is reached; later it may work."""
    AT_ODDS = 7
    """It does not go with what is there now."""
    BUILD_FAILED = 8
    """All went well but the build, which failed or was cancelled."""
    INTERRUPTED = 130
    """Somebody pressed Ctrl-C; what was asked for before goes on."""
    READER_LEFT = 141
    """Nobody reads what is printed any more, as when ``head`` has enough."""


class CommandFailure(GuixSpawnerError):
    """What keeps a command from being done; never raised itself."""

    exit_status = ExitStatus.REFUSED


class CommandMisused(CommandFailure):
    """A command with words, settings or files that do not say what to do."""

    code = "command-misused"
    exit_status = ExitStatus.MISUSED


class TokenMissing(CommandFailure):
    """No token to show to the service, or one that is not kept from others."""

    code = "token-missing"
    exit_status = ExitStatus.NOT_ALLOWED


class NotOurs(CommandFailure):
    """A service's folder on this machine that belongs to another account."""

    code = "not-ours"
    exit_status = ExitStatus.NOT_ALLOWED


class ServiceUnreachable(CommandFailure):
    """No connection to the service, or one that was lost."""

    code = "service-unreachable"
    exit_status = ExitStatus.UNREACHABLE


class AnswerNotUnderstood(CommandFailure):
    """An answer that no such service gives."""

    code = "answer-not-understood"
    exit_status = ExitStatus.UNREACHABLE


class NothingSuch(CommandFailure):
    """No environment of that name or address."""

    code = "not-found"
    exit_status = ExitStatus.NOT_FOUND


class SeveralSuch(CommandFailure):
    """A name or an address that stands for several environments."""

    code = "several-such"


class RefusedByService(CommandFailure):
    """A refusal of the service's, with its own code, words and details."""

    code = "refused"

    def __init__(self, status: int, error: Mapping[str, object], *, retry_after: float = 0.0) -> None:
        details = {name: value for name, value in error.items() if name not in {"code", "message", "hint"}}
        message, hint = str(error.get("message") or "The service refuses this."), str(error.get("hint") or "")
        super().__init__(message, hint=hint, details=details)
        self.http_status = status
        self.own_code = str(error.get("code") or self.code)
        self.retry_after = retry_after
        """Seconds after which it may be tried again; 0 where the service did not say."""

    def as_json(self) -> dict[str, object]:
        """Return it as the service wrote it."""
        return {**super().as_json(), "code": self.own_code}


_BY_STATUS: Mapping[int, ExitStatus] = {
    HTTPStatus.UNAUTHORIZED: ExitStatus.NOT_ALLOWED,
    HTTPStatus.FORBIDDEN: ExitStatus.NOT_ALLOWED,
    HTTPStatus.NOT_FOUND: ExitStatus.NOT_FOUND,
    HTTPStatus.CONFLICT: ExitStatus.AT_ODDS,
    HTTPStatus.PRECONDITION_FAILED: ExitStatus.AT_ODDS,
    HTTPStatus.TOO_MANY_REQUESTS: ExitStatus.TOO_MUCH,
    HTTPStatus.BAD_GATEWAY: ExitStatus.UNREACHABLE,
    HTTPStatus.SERVICE_UNAVAILABLE: ExitStatus.UNREACHABLE,
    HTTPStatus.GATEWAY_TIMEOUT: ExitStatus.UNREACHABLE,
}


def exit_status_of(error: GuixSpawnerError) -> ExitStatus:
    """Return the exit status of a command that ERROR ended."""
    if isinstance(error, RefusedByService):
        return _BY_STATUS.get(error.http_status, ExitStatus.REFUSED)
    if isinstance(error, CommandFailure):
        return error.exit_status
    # What can be seen to be unusable here is refused by the rules of the service before it is asked.
    return ExitStatus.MISUSED if error.status == HTTPStatus.UNPROCESSABLE_ENTITY else ExitStatus.REFUSED
