"""The API as a program calls it: one method for each thing that commands ask for, in the API's own types.

Every method raises `RefusedByService`, `ServiceUnreachable` and `AnswerNotUnderstood`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ValidationError

from guix_build_service.commands.event_stream import events
from guix_build_service.commands.outcomes import AnswerNotUnderstood, RefusedByService, ServiceUnreachable
from guix_build_service.commands.transport import Answer, Transport
from guix_build_service.model.environments import LARGEST_PAGE
from guix_build_service.model.members import MemberKind, Role
from guix_build_service.web.schemas.builds import BuildAnswer, LogEvent
from guix_build_service.web.schemas.credentials import CredentialAnswer, CredentialsAnswer
from guix_build_service.web.schemas.environments import (
    EnvironmentAnswer,
    EnvironmentRequest,
    EnvironmentsAnswer,
    ResolvedAnswer,
)
from guix_build_service.web.schemas.fields import PartAnswer
from guix_build_service.web.schemas.members import MembersAnswer
from guix_build_service.web.schemas.retention import RetentionAnswer
from guix_build_service.web.schemas.service import CallerAnswer
from guix_build_service.web.schemas.sessions import SessionAnswer, SessionRequest, SessionsAnswer
from guix_build_service.web.schemas.storage import StorageAnswer
from guix_build_service.web.schemas.versions import ExportAnswer, VersionAnswer, VersionsAnswer
from guix_build_service.web.schemas.webhooks import NewWebhookAnswer

_Model = TypeVar("_Model", bound=BaseModel)
_Part = TypeVar("_Part", bound=PartAnswer)

_AGAIN = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Refusals that may end by themselves: the service is being started anew, or was asked too often."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a lost connection is made again."""

    pauses: tuple[float, ...] = (1, 2, 4, 8, 15, *(30,) * 20)
    """Seconds before each further attempt, ten minutes in all; from the first one again once something has arrived."""
    sleep: Callable[[float], None] = time.sleep
    tell: Callable[[str], None] = field(default=lambda _: None)
    """Told of a connection that was lost, in words for a person."""


class _Attempts:
    """The attempts to get the whole of one stream."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.succeeded()

    def succeeded(self) -> None:
        """Take note that something has arrived."""
        self._pauses = iter(self._patience.pauses)

    def failed(self, error: RefusedByService | ServiceUnreachable) -> None:
        """Wait before the next attempt; raise ERROR when there is none."""
        asked_to_wait = 0.0
        if isinstance(error, RefusedByService):
            if error.http_status not in _AGAIN:
                raise error
            asked_to_wait = error.retry_after
        pause = next(self._pauses, None)
        if pause is None:
            raise error
        self._patience.tell(f"{error.message} Trying again.")
        self._patience.sleep(max(pause, asked_to_wait))


class Client:
    """The service, as the person whose token TRANSPORT sends sees it."""

    def __init__(self, transport: Transport, patience: Patience | None = None) -> None:
        self._transport = transport
        self._patience = patience or Patience()

    def caller(self) -> CallerAnswer:
        """Return whose token it is."""
        return self._ask("GET", "user", CallerAnswer)

    # --- environments ------------------------------------------------------------

    def environments(self, **wanted: str) -> Iterator[EnvironmentAnswer]:
        """Yield the environments that one may see, by name; WANTED as the API's query has it."""
        for part in self._parts("environments", EnvironmentsAnswer, wanted):
            yield from part.environments

    def environment(self, environment: str) -> EnvironmentAnswer:
        """Return one environment."""
        return self._ask("GET", f"environments/{_word(environment)}", EnvironmentAnswer)

    def versions(self, environment: str) -> tuple[VersionAnswer, ...]:
        """Return an environment's versions, newest first."""
        parts = self._parts(f"environments/{_word(environment)}/versions", VersionsAnswer, {})
        return tuple(version for part in parts for version in part.versions)

    def storage(self, environment: str) -> StorageAnswer:
        """Return what an environment holds of the disk, and what deleting it would free."""
        return self._ask("GET", f"environments/{_word(environment)}/storage", StorageAnswer)

    def pin(self, environment: str, version: str, *, pinned: bool) -> VersionAnswer:
        """Have a version's profile be kept however long nobody uses it, or not."""
        path = f"environments/{_word(environment)}/versions/{_word(version)}"
        return self._ask("PATCH", path, VersionAnswer, {"pinned": pinned})

    def export(self, environment: str, version: str) -> ExportAnswer:
        """Return what makes a version again on another machine."""
        return self._ask("GET", f"environments/{_word(environment)}/versions/{_word(version)}/export", ExportAnswer)

    def retention(self, rules: Mapping[str, float]) -> RetentionAnswer:
        """Return which profiles would be let go, by RULES that are different this once."""
        return self._ask("GET", f"retention?{urlencode(rules)}", RetentionAnswer)

    def let_go(self, rules: Mapping[str, float]) -> RetentionAnswer:
        """Let go of them, and return which went."""
        return self._ask("POST", "retention", RetentionAnswer, rules)

    def add(self, request: EnvironmentRequest) -> EnvironmentAnswer:
        """Add an environment, or find the one that the caller has."""
        return self._ask("POST", "environments", EnvironmentAnswer, request.model_dump(mode="json", exclude_unset=True))

    def change(self, environment: str, changes: Mapping[str, object]) -> EnvironmentAnswer:
        """Change an environment; CHANGES as the API's body has them."""
        return self._ask("PATCH", f"environments/{_word(environment)}", EnvironmentAnswer, changes)

    def members(self, environment: str) -> MembersAnswer:
        """Return with whom an environment is shared by name."""
        return self._ask("GET", f"environments/{_word(environment)}/members", MembersAnswer)

    def share(self, environment: str, kind: MemberKind, name: str, role: Role) -> MembersAnswer:
        """Share an environment with the member of that KIND and NAME."""
        path = f"environments/{_word(environment)}/members/{kind.value}/{_word(name)}"
        return self._ask("PUT", path, MembersAnswer, {"role": role.value})

    def unshare(self, environment: str, kind: MemberKind, name: str) -> None:
        """Share an environment no longer with the member of that KIND and NAME."""
        with self._transport.ask("DELETE", f"environments/{_word(environment)}/members/{kind.value}/{_word(name)}"):
            pass

    def delete(self, environment: str) -> None:
        """Delete an environment."""
        with self._transport.ask("DELETE", f"environments/{_word(environment)}"):
            pass

    def build(self, environment: str, *, force: bool = False, version: str | None = None) -> EnvironmentAnswer:
        """Build what an environment's ref stands for now, or the commit of VERSION."""
        body = {"force": force, **({"version": version} if version else {})}
        return self._ask("POST", f"environments/{_word(environment)}/builds", EnvironmentAnswer, body)

    def rollback(self, environment: str, version: str | None) -> EnvironmentAnswer:
        """Make VERSION, or else the version before the current one, the current one."""
        body = {"version": version} if version else {}
        return self._ask("POST", f"environments/{_word(environment)}/rollback", EnvironmentAnswer, body)

    def make_webhook(self, environment: str) -> NewWebhookAnswer:
        """Make a webhook of an environment, in the place of an earlier one, and return it with its secret."""
        return self._ask("PUT", f"environments/{_word(environment)}/webhook", NewWebhookAnswer, {})

    def remove_webhook(self, environment: str) -> None:
        """Forget an environment's webhook."""
        with self._transport.ask("DELETE", f"environments/{_word(environment)}/webhook"):
            pass

    def resolve(self, repository: str, ref: str) -> ResolvedAnswer:
        """Return which commit would be built."""
        return self._ask("POST", "resolve", ResolvedAnswer, {"repo": repository, "ref": ref})

    # --- credentials ------------------------------------------------------------

    def credentials(self) -> tuple[CredentialAnswer, ...]:
        """Return for which hosts the caller keeps something."""
        return self._ask("GET", "credentials", CredentialsAnswer).credentials

    def keep_credential(self, host: str, password: str, user: str | None) -> CredentialAnswer:
        """Keep a token or PASSWORD, with a USER's name where that matters, for HOST."""
        body = {"password": password, **({"user": user} if user is not None else {})}
        return self._ask("PUT", f"credentials/{_word(host)}", CredentialAnswer, body)

    def keep_ssh_key(self, host: str, key: str) -> CredentialAnswer:
        """Keep the private KEY for HOST."""
        return self._ask("PUT", f"credentials/{_word(host)}", CredentialAnswer, {"ssh_key": key})

    def forget_credential(self, host: str, kind: str | None) -> None:
        """Forget what is kept for HOST, of KIND or of all."""
        only = f"?kind={_word(kind)}" if kind is not None else ""
        with self._transport.ask("DELETE", f"credentials/{_word(host)}{only}"):
            pass

    # --- builds ------------------------------------------------------------

    def one_build(self, build: str) -> BuildAnswer:
        """Return how a build stands."""
        return self._ask("GET", f"builds/{_word(build)}", BuildAnswer)

    def cancel(self, build: str) -> BuildAnswer:
        """Stop a build."""
        return self._ask("POST", f"builds/{_word(build)}/cancel", BuildAnswer)

    def log(self, build: str) -> Iterator[bytes]:
        """Yield a build's log, as far as it goes now; goes on where it was when the connection is lost."""
        return self._text(f"builds/{_word(build)}/log")

    def follow(self, build: str) -> Iterator[LogEvent | BuildAnswer]:
        """Yield what happens to a build until it has ended; goes on where it was when the connection is lost."""
        last, attempts = "", _Attempts(self._patience)
        while True:
            try:
                headers = {"Last-Event-ID": last} if last else {}
                with self._transport.ask("GET", f"builds/{_word(build)}/events", headers=headers) as answer:
                    for event in events(answer.pieces()):
                        attempts.succeeded()
                        last = event.id
                        yield _parsed(LogEvent, event.data) if event.kind == "log" else _parsed(BuildAnswer, event.data)
                        if last.endswith(";end"):
                            return
                attempts.failed(ServiceUnreachable("The service ended the connection before the build did."))
            except (ServiceUnreachable, RefusedByService) as error:
                attempts.failed(error)

    # --- sessions ------------------------------------------------------------

    def sessions(self) -> tuple[SessionAnswer, ...]:
        """Return the caller's sessions."""
        return self._ask("GET", "sessions", SessionsAnswer).sessions

    def start_session(self, request: SessionRequest) -> SessionAnswer:
        """Start a session."""
        return self._ask("POST", "sessions", SessionAnswer, request.model_dump(mode="json", exclude_none=True))

    def stop_session(self, name: str) -> bool:
        """Stop a session; return whether it is gone, or else still stopping."""
        with self._transport.ask("DELETE", f"sessions/{_word(name)}") as answer:
            return answer.status == HTTPStatus.NO_CONTENT

    def session_log(self, name: str) -> Iterator[bytes]:
        """Yield what a session printed."""
        return self._text(f"sessions/{_word(name or '-')}/log")

    # --- all of them ------------------------------------------------------------

    def _ask(self, method: str, path: str, gives: type[_Model], body: Mapping[str, object] | None = None) -> _Model:
        with self._transport.ask(method, path, body) as answer:
            return _parsed(gives, answer.whole())

    def _parts(self, path: str, gives: type[_Part], wanted: Mapping[str, str]) -> Iterator[_Part]:
        """Yield the parts of a list; WANTED as the API's query has it."""
        cursor: str | None = None
        while True:
            query = {**wanted, "limit": LARGEST_PAGE, **({"cursor": cursor} if cursor else {})}
            part = self._ask("GET", f"{path}?{urlencode(query, errors='surrogateescape')}", gives)
            yield part
            if part.next is None:
                return
            if part.next == cursor:
                raise AnswerNotUnderstood("The service's list does not end.", hint="Tell the people who run this hub.")
            cursor = part.next

    def _text(self, path: str) -> Iterator[bytes]:
        position, attempts = 0, _Attempts(self._patience)
        while True:
            try:
                headers = {"Range": f"bytes={position}-"} if position else {}
                with self._transport.ask("GET", path, headers=headers) as answer:
                    for piece in _after(position, answer):
                        attempts.succeeded()
                        position += len(piece)
                        yield piece
            except (ServiceUnreachable, RefusedByService) as error:
                if isinstance(error, RefusedByService) and error.http_status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return  # there is nothing behind what has arrived
                attempts.failed(error)
            else:
                return


def _after(position: int, answer: Answer) -> Iterator[bytes]:
    """Yield what is behind POSITION in the text of ANSWER, which may begin there or be the whole."""
    skipped = 0 if answer.status == HTTPStatus.PARTIAL_CONTENT else position
    for piece in answer.pieces():
        new = piece[skipped:]
        skipped -= len(piece) - len(new)
        if new:
            yield new


def _parsed(kind: type[_Model], text: bytes | str) -> _Model:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field_name = ".".join(str(part) for part in first["loc"])
        raise AnswerNotUnderstood(
            f"The service answers with what this program does not understand ({field_name or 'no JSON'}).",
            hint="Use the guix-build-service of the same release as the hub's, and check the service's address.",
        ) from error


def _word(text: str) -> str:
    """Return TEXT as one part of an address, also where it is ``..``."""
    return quote(text, safe="", errors="surrogateescape").replace(".", "%2E")
