"""Webhooks: a forge that knows the secret has a push built ahead, and nobody else learns or moves anything."""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus

import pytest
from tornado.httpclient import HTTPResponse

from guix_build_service.logs.audit import Action, DeedFilter
from guix_build_service.model.environments import (
    BuildChanged,
    BuildFilter,
    BuildState,
    Changes,
    EnvironmentDetail,
    NewEnvironment,
    PageRequest,
    Person,
)
from guix_build_service.model.members import Member, MemberKind, Role
from guix_build_service.web.limits import RequestLimits
from guix_build_service.web.webhooks import LARGEST_DELIVERY
from guix_build_service.webhooks.deliveries import Forge
from guix_environment.identifiers import Commit
from tests.service.web.conftest import PREFIX, Site, refusal
from tests.service.web.page import Page, check
from tests.service.webhooks.deliveries import BODIES, ZEROS, as_form, of_github, sent

ADA = Person("ada")


def repository(detail: EnvironmentDetail) -> str:
    return str(detail.environment.repository)


async def secret_of(site: Site, detail: EnvironmentDetail, person: str = "ada") -> str:
    answer = await site.ask("PUT", f"api/v1/environments/{detail.environment.id}/webhook", token=f"token-{person}")
    assert answer.code == HTTPStatus.OK, answer.body
    return str(json.loads(answer.body)["secret"])


async def deliver(site: Site, forge: str, environment: str, headers: Mapping[str, str], body: bytes) -> HTTPResponse:
    return await site.ask("POST", f"api/v1/hooks/{forge}/{environment}", headers=headers, body=body)


async def push(site: Site, detail: EnvironmentDetail, secret: str, forge: str = "github", **about: str) -> HTTPResponse:
    return await deliver(
        site, forge, detail.environment.id, *sent(forge, secret, BODIES[forge](repository(detail), **about))
    )


async def builds_of(site: Site, detail: EnvironmentDetail) -> list[BuildState]:
    page = await site.manager.some_builds(ADA, BuildFilter(environment=detail.environment.id), PageRequest())
    return [build.state for build in page.items]


@pytest.mark.parametrize("forge", Forge)
async def test_a_push_is_built_ahead_for_the_owner(site: Site, forge: Forge) -> None:
    detail = await site.ready("good", "ada")
    secret = await secret_of(site, detail)
    site.pipeline.commit = Commit("b" * 40)
    answer = await push(site, detail, secret, forge)
    assert answer.code == HTTPStatus.ACCEPTED, answer.body
    build = json.loads(answer.body)["build"]
    async for _ in site.manager.follow(build, ADA):
        pass
    assert (await site.manager.build(build, ADA)).requested_by == "ada"
    version = (await site.manager.environment(detail.environment.id, ADA)).version
    assert version is not None
    assert version.commit == "b" * 40
    told = await site.manager.audit(Person("root", admin=True), DeedFilter(action=Action.BUILT), PageRequest())
    assert [(each.who, each.about["by"]) for each in told.items] == [("ada", "webhook")]
    shown = json.loads(
        (await site.ask("GET", f"api/v1/environments/{detail.environment.id}/webhook", token="token-ada")).body
    )
    assert shown["used"] is not None
    assert "secret" not in shown
    assert shown["addresses"][forge] == f"{site.address}{PREFIX}api/v1/hooks/{forge}/{detail.environment.id}"


async def test_a_delivery_that_comes_again_changes_nothing(site: Site) -> None:
    detail = await site.ready("good", "ada")
    secret = await secret_of(site, detail)
    old = site.pipeline.commit
    site.pipeline.commit = Commit("b" * 40)
    async for _ in site.manager.follow(json.loads((await push(site, detail, secret)).body)["build"], ADA):
        pass
    await site.manager.rollback(detail.environment.id, None, ADA)
    before = await builds_of(site, detail)
    for after in (old, "b" * 40, "c" * 40):  # what it says is the commit does not matter
        answer = await push(site, detail, secret, after=after)
        assert answer.code == HTTPStatus.OK
        assert json.loads(answer.body) == {"build": None}
    assert await builds_of(site, detail) == before
    version = (await site.manager.environment(detail.environment.id, ADA)).version
    assert version is not None
    assert version.commit == old  # who went back to it stays there


async def test_of_pushes_that_wait_the_newest_alone_is_built(site: Site) -> None:
    detail = await site.ready("good", "ada")
    secret = await secret_of(site, detail)
    for number in range(2):  # as many as run at once
        busy = await site.manager.add_environment(NewEnvironment(f"https://git.example/a/slow-{number}"), ADA)
        assert busy.build is not None
        async for event in site.manager.follow(busy.build.id, ADA):
            if isinstance(event, BuildChanged) and event.build.state is BuildState.BUILDING:
                break
    builds = []
    for letter in "bbcd":
        site.pipeline.commit = Commit(letter * 40)
        builds.append(json.loads((await push(site, detail, secret)).body)["build"])
    assert builds[0] == builds[1]
    cancelled = BuildState.CANCELLED
    assert await builds_of(site, detail) == [BuildState.QUEUED, cancelled, cancelled, BuildState.READY]
    site.pipeline.release.set()
    async for _ in site.manager.follow(builds[-1], ADA):
        pass
    version = (await site.manager.environment(detail.environment.id, ADA)).version
    assert version is not None
    assert version.commit == "d" * 40


async def test_what_is_not_followed_is_not_built(site: Site) -> None:
    detail = await site.ready("good", "ada")
    await site.manager.update_environment(detail.environment.id, Changes(ref="main"), ADA)
    secret = await secret_of(site, detail)
    site.pipeline.commit = Commit("b" * 40)
    for about in ({"ref": "refs/heads/other"}, {"ref": "refs/tags/v1"}, {"after": ZEROS}):
        answer = await push(site, detail, secret, **about)
        assert (answer.code, json.loads(answer.body)) == (HTTPStatus.OK, {"build": None})
    ping = sent("github", secret, {"zen": "Design for failure."}, X_GitHub_Event="ping")
    assert (await deliver(site, "github", detail.environment.id, *ping)).code == HTTPStatus.OK
    assert await builds_of(site, detail) == [BuildState.READY]
    assert (await push(site, detail, secret)).code == HTTPStatus.ACCEPTED


async def test_the_form_that_github_sends_is_taken(site: Site) -> None:
    detail = await site.ready("good", "ada")
    secret = await secret_of(site, detail)
    site.pipeline.commit = Commit("b" * 40)
    answer = await deliver(site, "github", detail.environment.id, *as_form(secret, of_github(repository(detail))))
    assert answer.code == HTTPStatus.ACCEPTED


async def test_whatever_a_stranger_does_not_know_looks_the_same(site: Site) -> None:
    with_one, without = await site.ready("good-1", "ada"), await site.ready("good-2", "ada")
    secret = await secret_of(site, with_one)
    site.pipeline.commit = Commit("b" * 40)
    body = of_github(repository(with_one))
    right = sent("github", secret, body)
    attempts = {
        "no proof": (with_one.environment.id, {"X-GitHub-Event": "push"}, right[1]),
        "a wrong secret": (with_one.environment.id, *sent("github", "x" * 40, body)),
        "another body": (with_one.environment.id, right[0], right[1] + b" "),
        "another repository": (with_one.environment.id, *sent("github", secret, of_github("https://git.example/a/other"))),
        "no webhook": (without.environment.id, *right),
        "no environment": ("eaaaaaaaaaaa", *right),
        "no identifier": ("..%2f..", *right),
    }
    answers = {name: await deliver(site, "github", *attempt) for name, attempt in attempts.items()}
    answers["another forge's"] = await deliver(site, "gitlab", with_one.environment.id, *right)
    answers["no forge"] = await deliver(site, "sourcehut", with_one.environment.id, *right)
    seen = {
        name: (answer.code, answer.body, sorted(key for key in answer.headers if key != "Date"))
        for name, answer in answers.items()
    }
    assert {name: value for name, value in seen.items() if value != seen["no environment"]} == {}
    assert seen["no environment"][0] == HTTPStatus.NOT_FOUND
    assert await builds_of(site, with_one) == [BuildState.READY]
    assert await builds_of(site, without) == [BuildState.READY]
    # A login counts for nothing here.
    for headers in ({"Authorization": "token token-ada"}, {"Cookie": "x=y"}):
        answer = await deliver(site, "github", with_one.environment.id, headers, right[1])
        assert answer.code == HTTPStatus.NOT_FOUND
    assert (await deliver(site, "github", with_one.environment.id, *right)).code == HTTPStatus.ACCEPTED


async def test_another_environments_secret_and_an_old_one_open_nothing(site: Site) -> None:
    one, other = await site.ready("good-1", "ada"), await site.ready("good-2", "ada")
    old, others = await secret_of(site, one), await secret_of(site, other)
    new = await secret_of(site, one)
    assert len({old, others, new}) == 3
    for secret in (old, others):
        assert (await push(site, one, secret)).code == HTTPStatus.NOT_FOUND
    assert (await push(site, one, new)).code == HTTPStatus.OK
    path = f"api/v1/environments/{one.environment.id}/webhook"
    assert (await site.ask("DELETE", path, token="token-ada")).code == HTTPStatus.NO_CONTENT
    assert (await push(site, one, new)).code == HTTPStatus.NOT_FOUND
    await site.manager.delete_environment(other.environment.id, ADA)
    assert (await push(site, other, others)).code == HTTPStatus.NOT_FOUND


async def test_a_secret_that_the_forge_made_can_be_kept(site: Site) -> None:
    detail = await site.ready("good", "ada")
    path = f"api/v1/environments/{detail.environment.id}/webhook"
    given = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    answer = await site.ask("PUT", path, json_body={"secret": given}, token="token-ada")
    assert json.loads(answer.body)["secret"] == given
    assert (await push(site, detail, given, "gitlab")).code == HTTPStatus.OK
    for wrong in ("short", "with spaces in it all", "x" * 201):
        answer = await site.ask("PUT", path, json_body={"secret": wrong}, token="token-ada")
        assert refusal(answer) == "invalid-input"
        assert wrong.encode() not in answer.body


async def test_the_owners_limits_hold(site: Site) -> None:
    detail = await site.ready("good", "ada")
    secret = await secret_of(site, detail)
    site.manager._policy = replace(site.manager._policy, builds_an_hour=1)
    site.pipeline.commit = Commit("b" * 40)
    answer = await push(site, detail, secret)
    assert (answer.code, refusal(answer)) == (HTTPStatus.TOO_MANY_REQUESTS, "limit-reached")
    assert await builds_of(site, detail) == [BuildState.READY]


async def test_what_a_forge_sends_may_be_longer_than_what_people_send_and_has_an_end(site: Site) -> None:
    detail = await site.ready("good", "ada")
    secret = await secret_of(site, detail)
    long = {**of_github(repository(detail)), "commits": ["x" * 500_000]}
    assert (await deliver(site, "github", detail.environment.id, *sent("github", secret, long))).code == HTTPStatus.OK
    answer = await deliver(site, "github", detail.environment.id, {}, b"x" * (LARGEST_DELIVERY + 1))
    assert (answer.code, refusal(answer)) == (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request-too-large")


async def test_the_webhook_of_what_a_group_shares_is_its_owners(site: Site) -> None:
    for name, group in (("bob", "lab"), ("cyd", "readers")):
        site.hub.add(name, groups=(group,))
    detail = await site.ready("good", "ada")
    identifier = detail.environment.id
    for group, role in (("lab", Role.EDITOR), ("readers", Role.VIEWER)):
        await site.manager.share(identifier, Member(MemberKind.GROUP, group, role), ADA)
    secret = await secret_of(site, detail)
    path = f"api/v1/environments/{identifier}/webhook"
    for name, status in (("bob", HTTPStatus.FORBIDDEN), ("cyd", HTTPStatus.FORBIDDEN), ("eve", HTTPStatus.NOT_FOUND)):
        for method in ("GET", "PUT", "DELETE"):
            answer = await site.ask(method, path, token=f"token-{name}")
            assert (answer.code, secret in answer.body.decode()) == (status, False), (name, method)
        page = await (await site.login(name)).get(f"environments/{identifier}")
        assert "webhook" not in page.body.decode().lower(), name
    site.pipeline.commit = Commit("b" * 40)
    build = json.loads((await push(site, detail, secret)).body)["build"]
    async for _ in site.manager.follow(build, ADA):
        pass
    seen = json.loads((await site.ask("GET", f"api/v1/environments/{identifier}", token="token-cyd")).body)
    assert seen["version"]["commit"] == "b" * 40, "what a push built is the whole group's"
    assert seen["build"]["requested_by"] is None


async def test_a_webhook_goes_with_its_environment_to_the_next_owner(site: Site) -> None:
    site.hub.add("bob", groups=("lab",))
    detail = await site.ready("good", "ada")
    secret = await secret_of(site, detail)
    path = f"api/v1/environments/{detail.environment.id}"
    assert (await site.ask("PATCH", path, json_body={"owner": "bob"}, token="token-ada")).code == HTTPStatus.OK
    assert (await site.ask("GET", f"{path}/webhook", token="token-bob")).code == HTTPStatus.OK
    assert (await site.ask("GET", f"{path}/webhook", token="token-ada")).code in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
    site.pipeline.commit = Commit("b" * 40)
    build = json.loads((await push(site, detail, secret)).body)["build"]
    assert (await site.manager.build(build, Person("bob"))).requested_by == "bob"
    await secret_of(site, detail, "bob")
    assert (await push(site, detail, secret)).code == HTTPStatus.NOT_FOUND, "whoever knew the old secret is out"


class TestPace:
    """Forged deliveries are answered so many times a minute."""

    @pytest.fixture
    def limits(self) -> RequestLimits:
        return RequestLimits(deliveries_a_minute=3)

    async def test_whoever_guesses_is_asked_to_wait(self, site: Site) -> None:
        answers = [await deliver(site, "github", "eaaaaaaaaaaa", {}, b"{}") for _ in range(4)]
        assert [answer.code for answer in answers[:3]] == [HTTPStatus.NOT_FOUND] * 3
        assert answers[3].code == HTTPStatus.TOO_MANY_REQUESTS
        assert int(answers[3].headers["Retry-After"]) > 0


async def test_the_page_shows_the_secret_once(site: Site) -> None:
    detail = await site.ready("good", "ada")
    ada = await site.login("ada")
    path = f"environments/{detail.environment.id}"
    assert "Make a webhook" in (await ada.get(path)).body.decode()
    page = (await ada.submit(f"{path}/webhook")).body.decode()
    secret = page.partition('<code id="secret" class="text-break">')[2].partition("<")[0]
    assert (await push(site, detail, secret)).code == HTTPStatus.OK
    again = (await ada.get(path)).body.decode()
    assert secret not in again
    assert "The forge used it last" in again
    # Either end of it is asked about first, in a dialog or on a page.
    for asked in (again, (await ada.get(f"{path}/webhook")).body.decode()):
        check(Page(asked))
        assert "Until you enter that one at the forge" in asked
        assert "Pushes are no longer built ahead" in asked
    assert (await ada.submit(f"{path}/webhook", remove="yes")).code == HTTPStatus.SEE_OTHER
    assert "Make a webhook" in (await ada.get(path)).body.decode()
    assert (await ada.get(f"{path}/webhook")).headers["Location"] == f"{PREFIX}{path}"
    assert (await push(site, detail, secret)).code == HTTPStatus.NOT_FOUND


async def test_no_secret_of_a_webhook_is_logged_told_or_kept_open(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    detail = await site.ready("good", "ada")
    secret = await secret_of(site, detail)
    await push(site, detail, secret)
    await push(site, detail, secret, "gitlab")
    told = await site.manager.audit(Person("root", admin=True), DeedFilter(), PageRequest())
    assert Action.SET_WEBHOOK in {each.action for each in told.items}
    files = [file.read_bytes() for file in site.sessions.parent.rglob("*") if file.is_file()]
    assert len(files) > 2
    assert secret not in caplog.text + str(told)
    assert [file for file in files if secret.encode() in file] == []
