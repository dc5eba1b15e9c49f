"""A person's programs, as far as HTTP goes: the hub's, the service's and the sessions' REST interfaces, with a hub token."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

API = "services/guix/api/v1/"
FINAL = {"ready", "failed", "cancelled"}
Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """What came back; ``content`` is None where it was no JSON."""

    status: int
    content: Any
    text: str

    @property
    def error(self) -> dict[str, Any]:
        """The service's error."""
        assert self.status >= 400, self
        error: dict[str, Any] = self.content["error"]
        return error


@dataclass(frozen=True)
class Client:
    """Somebody with a token."""

    address: str
    name: str
    token: str = field(repr=False)

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Return the answer to a request of PATH below the hub's address, whatever its status."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"token {self.token}"} if self.token else {})
        try:
            with urlopen(Request(self.address + path.lstrip("/"), data, headers, method=method), timeout=120) as answer:
                return _answer(answer.status, answer.read())
        except HTTPError as error:
            return _answer(error.code, error.read())

    def environments(self) -> dict[str, dict[str, Any]]:
        """Return the environments that the person sees, by name."""
        return {each["name"]: each for each in self.ask("GET", f"{API}environments").content["environments"]}

    def add(self, **request: object) -> Answer:
        """Ask for an environment."""
        return self.ask("POST", f"{API}environments", request)

    def built(self, environment: str, seconds: float = 300) -> dict[str, Any]:
        """Return the environment with this id once its build has ended."""

        def state() -> dict[str, Any] | None:
            found: dict[str, Any] = self.ask("GET", f"{API}environments/{environment}").content
            return found if found["state"] in FINAL else None

        return until(state, seconds)

    def start(self, environment: str) -> str:
        """Start a session of the environment and return its path once it runs."""
        name = self.ask("POST", f"{API}sessions", {"environment": environment}).content["name"]

        def path() -> str | None:
            session = self.ask("GET", f"{API}sessions/{name}").content
            return str(session["url"]) if session["state"] == "running" else None

        return until(path)

    def stop(self, environment: str) -> None:
        """Stop the person's sessions of the environment, and return once they are gone."""

        def gone() -> bool:
            sessions = self.ask("GET", f"{API}sessions").content["sessions"]
            running = [one for one in sessions if one["environment"] == environment and one["state"] != "stopped"]
            for session in running:
                self.ask("DELETE", f"{API}sessions/{session['name']}")
            return not running

        until(gone)


def log_in(address: str, name: str, password: str) -> Client:
    """Return NAME's programs, with a token that the hub gives for the password."""
    asked = {"auth": {"username": name, "password": password}, "note": "end-to-end tests"}
    answer = Client(address, name, "").ask("POST", f"hub/api/users/{name}/tokens", asked)
    assert answer.status == 201, answer
    return Client(address, name, answer.content["token"])


def add_person(admin: Client, name: str) -> Client:
    """Have ADMIN make the person NAME, if there is none, and return their programs."""
    assert admin.ask("POST", f"hub/api/users/{name}").status in {201, 409}
    answer = admin.ask("POST", f"hub/api/users/{name}/tokens", {"note": "end-to-end tests"})
    assert answer.status == 201, answer
    return Client(admin.address, name, answer.content["token"])


def until(look: Callable[[], Result | None], seconds: float = 60) -> Result:
    """Return what LOOK returns once that is something; fail when it takes longer than SECONDS."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return found


def _answer(status: int, body: bytes) -> Answer:
    text = body.decode()
    try:
        return Answer(status, json.loads(text), text)
    except ValueError:
        return Answer(status, None, text)
