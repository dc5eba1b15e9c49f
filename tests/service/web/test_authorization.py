"""Who may do what: every method of every address, for every kind of caller, on an environment shared in every way.

The addresses are those of the application's own tables and of its description; one without a line in `RULES` fails. Each
line says what a method asks of its caller, and the test works out the answer that each of them must get.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from itertools import count
from urllib.parse import urlencode

import pytest
from tornado.httpclient import HTTPResponse
from tornado.web import RequestHandler

from guix_build_service.model.environments import EnvironmentDetail, NewEnvironment, Person
from guix_build_service.model.members import Member, MemberKind, Role
from guix_build_service.web.api import ApiHandler, operations
from guix_build_service.web.application import API, BESIDE, PAGES
from guix_build_service.web.auth import READING_METHODS
from guix_build_service.web.events import Events
from guix_build_service.web.openapi import describe
from guix_environment.records import Visibility
from tests.service.web.conftest import PREFIX, Site, refusal


class Needs(Enum):
    """What a method asks of its caller."""

    NOTHING = auto()
    ACCESS = auto()
    """Access to the service; what is answered is the caller's own, or nobody's."""
    USER = auto()
    """To be a person: services have no sessions."""
    SEEING = auto()
    """To be one of those for whom the environment is."""
    SEEING_AS_USER = auto()
    CHANGING = auto()
    """To be an editor or its owner, or an administrator."""
    OWNING = auto()
    """To be its owner, or an administrator."""
    ADMINISTERING = auto()
    """To be an administrator."""


OF_NO_ENVIRONMENT = frozenset({Needs.NOTHING, Needs.ACCESS, Needs.USER, Needs.ADMINISTERING})
"""What needs no right to any environment."""


@dataclass(frozen=True)
class Rule:
    needs: Needs
    answers: frozenset[int] = frozenset({HTTPStatus.OK})
    """What the method answers whoever may use it."""
    body: dict[str, object] = field(default_factory=dict)
    """What is sent; ENVIRONMENT in it is the environment's name."""
    under_way: bool = False
    """Whether the environment's build is still under way."""


OK = frozenset({HTTPStatus.OK})
TAKEN = frozenset({HTTPStatus.OK, HTTPStatus.ACCEPTED})
GONE = frozenset({HTTPStatus.NO_CONTENT})
LED_ON = frozenset({HTTPStatus.SEE_OTHER})
NONE_OF_ITS_OWN = frozenset({HTTPStatus.NOT_FOUND})
NOT_A_MEMBER = frozenset({HTTPStatus.NOT_FOUND})
NO_EARLIER_VERSION = THE_CURRENT_ONE = frozenset({HTTPStatus.CONFLICT})
LINK = {"provider": "gh", "spec": "a/good/main"}
REPOSITORY: dict[str, object] = {"repo": "https://git.example/a/good"}

RULES = {
    "GET api/v1/environments": Rule(Needs.ACCESS),
    "POST api/v1/environments": Rule(Needs.ACCESS, TAKEN, REPOSITORY),
    "GET api/v1/environments/{environment}": Rule(Needs.SEEING),
    "PATCH api/v1/environments/{environment}": Rule(Needs.CHANGING, OK, {"name": "Changed"}),
    "DELETE api/v1/environments/{environment}": Rule(Needs.OWNING, GONE),
    "GET api/v1/environments/{environment}/members": Rule(Needs.CHANGING),
    "PUT api/v1/environments/{environment}/members/{kind}/{member}": Rule(Needs.OWNING, OK, {"role": "viewer"}),
    "DELETE api/v1/environments/{environment}/members/{kind}/{member}": Rule(Needs.OWNING, NOT_A_MEMBER),
    "GET api/v1/environments/{environment}/versions": Rule(Needs.SEEING),
    "GET api/v1/environments/{environment}/versions/{version}": Rule(Needs.SEEING),
    "PATCH api/v1/environments/{environment}/versions/{version}": Rule(Needs.OWNING, OK, {"pinned": True}),
    "DELETE api/v1/environments/{environment}/versions/{version}": Rule(Needs.OWNING, THE_CURRENT_ONE),
    "GET api/v1/environments/{environment}/versions/{version}/export": Rule(Needs.SEEING),
    "GET api/v1/environments/{environment}/storage": Rule(Needs.OWNING),
    "GET api/v1/environments/{environment}/webhook": Rule(Needs.OWNING, NONE_OF_ITS_OWN),
    "PUT api/v1/environments/{environment}/webhook": Rule(Needs.OWNING),
    "DELETE api/v1/environments/{environment}/webhook": Rule(Needs.OWNING, NONE_OF_ITS_OWN),
    "POST api/v1/hooks/{provider}/{environment}": Rule(Needs.NOTHING, NONE_OF_ITS_OWN),
    "GET api/v1/environments/{environment}/builds": Rule(Needs.SEEING),
    "POST api/v1/environments/{environment}/builds": Rule(Needs.CHANGING, TAKEN, {"force": True}),
    "POST api/v1/environments/{environment}/rollback": Rule(Needs.CHANGING, NO_EARLIER_VERSION),
    "POST api/v1/resolve": Rule(Needs.ACCESS, OK, REPOSITORY),
    "GET api/v1/builds": Rule(Needs.ACCESS),
    "GET api/v1/builds/{build}": Rule(Needs.SEEING),
    "POST api/v1/builds/{build}/cancel": Rule(Needs.CHANGING, under_way=True),
    "GET api/v1/builds/{build}/log": Rule(Needs.SEEING),
    "GET api/v1/builds/{build}/events": Rule(Needs.SEEING),
    "GET api/v1/audit": Rule(Needs.ADMINISTERING),
    "GET api/v1/retention": Rule(Needs.ADMINISTERING),
    "POST api/v1/retention": Rule(Needs.ADMINISTERING),
    "GET api/v1/user": Rule(Needs.ACCESS),
    "GET api/v1/sessions": Rule(Needs.USER),
    "POST api/v1/sessions": Rule(
        Needs.SEEING_AS_USER, frozenset({HTTPStatus.CREATED, HTTPStatus.ACCEPTED}), {"environment": "ENVIRONMENT"}
    ),
    "GET api/v1/sessions/{name}": Rule(Needs.USER, NONE_OF_ITS_OWN),
    "DELETE api/v1/sessions/{name}": Rule(Needs.USER, NONE_OF_ITS_OWN),
    "GET api/v1/sessions/{name}/log": Rule(Needs.USER, NONE_OF_ITS_OWN),
    "GET api/v1/session-options": Rule(Needs.ACCESS),
    "GET api/v1/gallery": Rule(Needs.ACCESS),
    "GET api/v1/credentials": Rule(Needs.ACCESS),
    "PUT api/v1/credentials/{host}": Rule(Needs.ACCESS, OK, {"password": "secret"}),
    "DELETE api/v1/credentials/{host}": Rule(Needs.ACCESS, NONE_OF_ITS_OWN),
    "GET api/v1/health": Rule(Needs.NOTHING),
    "GET api/v1/versions": Rule(Needs.ACCESS),
    "GET api/v1/metrics": Rule(Needs.ACCESS),
    "GET metrics": Rule(Needs.ACCESS),
    "GET api/v1/openapi.json": Rule(Needs.ACCESS),
    "GET ": Rule(Needs.ACCESS),
    "POST ": Rule(Needs.ACCESS, LED_ON, REPOSITORY),
    "GET environments/{environment}": Rule(Needs.SEEING),
    "POST environments/{environment}/start": Rule(Needs.SEEING_AS_USER, LED_ON),
    "POST environments/{environment}/stop": Rule(Needs.SEEING, LED_ON),
    "POST environments/{environment}/build": Rule(Needs.CHANGING, LED_ON),
    "POST environments/{environment}/rollback": Rule(Needs.CHANGING, NO_EARLIER_VERSION),
    "POST environments/{environment}/versions/{version}/pin": Rule(Needs.OWNING, LED_ON),
    "GET environments/{environment}/versions/{version}/delete": Rule(Needs.SEEING),
    "POST environments/{environment}/versions/{version}/delete": Rule(Needs.OWNING, THE_CURRENT_ONE),
    "GET environments/{environment}/versions/{version}/export": Rule(Needs.SEEING),
    "GET environments/{environment}/versions/{version}/export/{file}": Rule(Needs.SEEING),
    "GET environments/{environment}/change": Rule(Needs.CHANGING),
    "POST environments/{environment}/change": Rule(Needs.CHANGING, LED_ON, {"name": "Changed"}),
    "GET environments/{environment}/delete": Rule(Needs.SEEING),
    "POST environments/{environment}/delete": Rule(Needs.OWNING, LED_ON),
    "POST environments/{environment}/members": Rule(
        Needs.OWNING, LED_ON, {"kind": "user", "name": "none", "role": "viewer"}
    ),
    "POST environments/{environment}/members/remove": Rule(Needs.OWNING, NOT_A_MEMBER, {"kind": "user", "name": "none"}),
    "POST environments/{environment}/owner": Rule(Needs.OWNING, LED_ON, {"owner": "somebody"}),
    "GET environments/{environment}/webhook": Rule(Needs.OWNING, LED_ON),
    "POST environments/{environment}/webhook": Rule(Needs.OWNING),
    "GET builds/{build}": Rule(Needs.SEEING),
    "POST builds/{build}/cancel": Rule(Needs.CHANGING, LED_ON, under_way=True),
    "GET sessions/{name}/log": Rule(Needs.USER, NONE_OF_ITS_OWN),
    "GET credentials": Rule(Needs.ACCESS),
    "POST credentials": Rule(Needs.ACCESS, LED_ON, {"host": "git.example", "password": "secret"}),
    "GET credentials/{host}/delete": Rule(Needs.ACCESS, NONE_OF_ITS_OWN),
    "POST credentials/{host}/delete": Rule(Needs.ACCESS, NONE_OF_ITS_OWN),
    "GET isolation": Rule(Needs.ADMINISTERING),
    "GET api": Rule(Needs.ACCESS),
    "GET oauth_callback": Rule(Needs.NOTHING, frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN})),
    "GET v2/{provider}/{spec}": Rule(Needs.ACCESS),
    "POST v2/{provider}/{spec}": Rule(Needs.USER, LED_ON),
    "GET build/{provider}/{spec}": Rule(Needs.USER),
    "GET badge_logo.svg": Rule(Needs.NOTHING),
    "GET badge.svg": Rule(Needs.NOTHING),
    "GET health": Rule(Needs.NOTHING),
    "HEAD health": Rule(Needs.NOTHING),
    "HEAD badge_logo.svg": Rule(Needs.NOTHING),
    "HEAD badge.svg": Rule(Needs.NOTHING),
    "HEAD api/v1/health": Rule(Needs.NOTHING),
    "GET versions": Rule(Needs.ACCESS),
}


@dataclass(frozen=True)
class Caller:
    """Somebody, and what they are to ada's environment."""

    name: str
    sees: frozenset[Visibility] = frozenset(Visibility)
    changes: bool = False
    owns: bool = False
    has_access: bool = True
    service: bool = False
    admin: bool = False


FOR_EVERYONE = frozenset({Visibility.EVERYONE})
CALLERS = (
    Caller("nobody", frozenset(), has_access=False),
    Caller("stranger", frozenset(), has_access=False),
    Caller("eve", FOR_EVERYONE),
    Caller("watcher", FOR_EVERYONE, service=True),
    Caller("member", FOR_EVERYONE | {Visibility.GROUPS}),
    Caller("viewer"),
    Caller("viewing-member"),
    Caller("editor", changes=True),
    Caller("editing-member", changes=True),
    Caller("keeper", changes=True, owns=True, service=True, admin=True),
    Caller("root", changes=True, owns=True, admin=True),
    Caller("ada", changes=True, owns=True),
)
"""Those who may least come first."""


MEMBERS = (
    Member(MemberKind.USER, "viewer", Role.VIEWER),
    Member(MemberKind.GROUP, "viewers", Role.VIEWER),
    Member(MemberKind.USER, "editor", Role.EDITOR),
    Member(MemberKind.GROUP, "editors", Role.EDITOR),
)
"""With whom ada's environment is shared by name."""


@pytest.fixture
def site(site: Site) -> Site:
    """The site, with everybody known to its hub who calls."""
    site.hub.add("member", groups=("lab",))
    site.hub.add("viewer")
    site.hub.add("viewing-member", groups=("viewers",))
    site.hub.add("editor")
    site.hub.add("editing-member", groups=("viewers", "editors"))
    return site


def routes() -> Iterator[str]:
    """Yield every method of every address that the application has."""
    for below, handlers in (("api/v1/", API), ("", (*PAGES, *BESIDE))):
        for handler in handlers:
            for method in handler.SUPPORTED_METHODS:
                # Those go by the rules of GET.
                of_get = method == "HEAD" and handler.head in (ApiHandler.head, Events.head)
                if getattr(handler, method.lower()) is not RequestHandler._unimplemented_method and not of_get:
                    yield f"{method} {below}{handler.route}"


def test_every_address_says_who_may_use_it() -> None:
    assert sorted(routes()) == sorted(RULES)
    paths = describe(API, PREFIX)["paths"]
    assert isinstance(paths, dict)
    described = {f"{method.upper()} api/v1{path}" for path, methods in paths.items() for method in methods}
    assert {name for name in described if not name.startswith("PARAMETERS ")} == {
        f"{method.upper()} api/v1/{handler.route}" for handler in API for method in operations(handler)
    }
    of_api = {name for name in RULES if name.partition(" ")[2].startswith("api/v1/") and not name.startswith("HEAD ")}
    assert of_api <= described


def expected(rule: Rule, caller: Caller, visibility: Visibility) -> frozenset[int]:
    """Return what CALLER must be answered at an address with RULE, about an environment shared by VISIBILITY."""
    if rule.needs is Needs.NOTHING:
        return rule.answers
    if not caller.has_access:
        return frozenset({HTTPStatus.UNAUTHORIZED if caller.name == "nobody" else HTTPStatus.FORBIDDEN})
    if rule.needs is Needs.ADMINISTERING:
        return rule.answers if caller.admin else frozenset({HTTPStatus.FORBIDDEN})
    about_it = rule.needs not in OF_NO_ENVIRONMENT
    if about_it and visibility not in caller.sees:
        return frozenset({HTTPStatus.NOT_FOUND})
    as_user = rule.needs in {Needs.USER, Needs.SEEING_AS_USER}
    if (as_user and caller.service) or not may_do(rule.needs, caller):
        return frozenset({HTTPStatus.FORBIDDEN})
    return rule.answers


def may_do(needs: Needs, caller: Caller) -> bool:
    """Tell whether CALLER, who sees the environment, has the right that a method NEEDS."""
    return caller.owns if needs is Needs.OWNING else caller.changes if needs is Needs.CHANGING else True


async def environment_for(site: Site, rule: Rule, visibility: Visibility, number: int) -> EnvironmentDetail:
    """Return an environment of ada's, shared by VISIBILITY, as RULE needs it."""
    kind = "slow" if rule.under_way else "good"
    groups = ("lab",) if visibility is Visibility.GROUPS else ()
    request = NewEnvironment(f"https://git.example/a/{kind}-{number}", visibility=visibility, groups=groups)
    detail = await site.manager.add_environment(request, Person("ada"))
    for member in MEMBERS:
        await site.manager.share(detail.environment.id, member, Person("ada"))
    if not rule.under_way:
        assert detail.build is not None
        async for _ in site.manager.follow(detail.build.id, Person("ada")):
            pass
    return await site.manager.environment(detail.environment.id, Person("ada"))


async def ask(site: Site, route: str, detail: EnvironmentDetail, caller: Caller) -> HTTPResponse:
    """Do what ROUTE says to the environment in DETAIL as CALLER."""
    rule = RULES[route]
    method, _, path = route.partition(" ")
    assert detail.build is not None
    version = detail.version.id if detail.version is not None else "none"
    names = {"environment": detail.environment.id, "version": version, "build": detail.build.id}
    path = path.format(**names, **LINK, name="none", host="git.example", kind="user", member="none", file="manifest.scm")
    content = {name: detail.environment.id if value == "ENVIRONMENT" else value for name, value in rule.body.items()}
    headers = {"Sec-Fetch-Mode": "cors"}
    body: str | None = None
    if method not in READING_METHODS:
        of_api = path.startswith("api/")
        headers["Content-Type"] = "application/json" if of_api else "application/x-www-form-urlencoded"
        body = json.dumps(content) if of_api else urlencode(content)
    token = "" if caller.name == "nobody" else f"token-{caller.name}"
    return await site.ask(method, path, headers=headers, body=body if method != "DELETE" else None, token=token)


@pytest.mark.parametrize("route", RULES)
async def test_everybody_gets_what_is_theirs_and_nothing_else(site: Site, route: str) -> None:
    rule = RULES[route]
    about_it = rule.needs not in OF_NO_ENVIRONMENT
    numbers = count()
    for visibility in Visibility if about_it else (Visibility.PRIVATE,):
        detail = await environment_for(site, rule, visibility, next(numbers))
        for caller in CALLERS:
            before = await site.manager.environment(detail.environment.id, Person("ada"))
            answer = await ask(site, route, detail, caller)
            wanted = expected(rule, caller, visibility)
            assert answer.code in wanted, (route, caller.name, visibility, answer.body)
            if answer.code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and " api/v1/" in route:
                assert refusal(answer)
            if wanted != rule.answers:
                after = await site.manager.environment(detail.environment.id, Person("ada"))
                assert after.environment == before.environment
                assert (after == before) or (rule.under_way and not after.state.is_final)
            elif rule.needs in {Needs.CHANGING, Needs.OWNING}:
                detail = await environment_for(site, rule, visibility, next(numbers))


async def test_lists_hold_what_the_caller_may_see(site: Site) -> None:
    shared = {
        visibility: (await environment_for(site, Rule(Needs.SEEING), visibility, number)).environment.id
        for number, visibility in enumerate(Visibility)
    }
    for path in ("api/v1/environments", "api/v1/session-options", ""):
        for caller in CALLERS:
            if not caller.has_access:
                continue
            answer = await site.ask("GET", path, token=f"token-{caller.name}")
            listed = {visibility for visibility, identifier in shared.items() if identifier in answer.body.decode()}
            assert listed == caller.sees, (path, caller.name)
