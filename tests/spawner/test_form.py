"""The choice among environments, as HTML."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from guix_environment.identifiers import Commit, EnvironmentId, VersionId
from guix_environment.records import Records, Visibility
from guix_environment.repository_url import RepositoryUrl
from guixspawner.form import MANY, NOTHING_TO_START, Offer, ago, render_form
from guixspawner.offers import offers_for
from guixspawner.options import Preselection
from guixspawner.session import Applicant
from tests.spawner.conftest import ENVIRONMENT, VERSION, environment, version

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OTHER = EnvironmentId("ebbbbbbbbbbb")
HOSTILE = "<'&\">"


def offer(identifier: EnvironmentId = ENVIRONMENT, **texts: str) -> Offer:
    fields = {"name": "An analysis", "description": "", "shared_by": "", **texts}
    commit = Commit("c0ffee" + "0" * 34)
    built = NOW - timedelta(days=3)
    repository = RepositoryUrl.parse("https://git.example/a/analysis.git")
    return Offer(id=identifier, repository=repository, commit=commit, built=built, **fields)


class Inputs(HTMLParser):
    """The form's inputs, tags and texts, as a browser finds them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.inputs: list[dict[str, str | None]] = []
        self.links: list[str | None] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "input":
            self.inputs.append(dict(attrs))
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(html: str) -> list[str | None]:
    return [one["value"] for one in Inputs(html).inputs if "checked" in one]


def rendered(*offers: Offer, chosen: Preselection | None = None, last: EnvironmentId | None = None) -> str:
    return render_form(offers, chosen or Preselection(), "/services/guix/", now=NOW, last=last)


def test_each_environment_is_one_choice_and_the_first_is_made() -> None:
    page = Inputs(rendered(offer(), offer(OTHER, name="Another")))
    assert [(one["type"], one["name"], one["value"]) for one in page.inputs] == [
        ("radio", "environment", ENVIRONMENT),
        ("radio", "environment", OTHER),
    ]
    assert all("required" in one for one in page.inputs)
    for text in ("An analysis", "git.example/a/analysis", "c0ffee0", "3 days ago"):
        assert text in page.text
    assert page.links == ["/services/guix/"]


def test_environments_of_one_name_are_two_choices() -> None:
    page = Inputs(rendered(offer(), offer(OTHER)))
    assert [one["value"] for one in page.inputs if one["type"] == "radio"] == [ENVIRONMENT, OTHER]


def test_a_link_chooses() -> None:
    html = rendered(offer(), offer(OTHER), chosen=Preselection(OTHER, VersionId(VERSION), "a b.ipynb"))
    assert checked(html) == [OTHER]
    hidden = {one["name"]: one["value"] for one in Inputs(html).inputs if one["type"] == "hidden"}
    assert hidden == {"version": VERSION, "path": "a b.ipynb", "preselected": OTHER}
    html = rendered(offer(), chosen=Preselection(ENVIRONMENT, None, "", "app"))
    assert [one["name"] for one in Inputs(html).inputs if one["type"] == "hidden"] == ["urlpath", "preselected"]
    html = rendered(offer(), offer(OTHER), chosen=Preselection(OTHER))
    assert all(one["type"] == "radio" for one in Inputs(html).inputs)


def test_what_was_asked_for_last_is_chosen_unless_a_link_chooses() -> None:
    assert checked(rendered(offer(), offer(OTHER), last=OTHER)) == [OTHER]
    assert checked(rendered(offer(), offer(OTHER), last=OTHER, chosen=Preselection(ENVIRONMENT))) == [ENVIRONMENT]
    html = rendered(offer(), last=OTHER)
    assert checked(html) == [ENVIRONMENT]
    assert "of this link" not in html


def test_a_link_to_what_is_not_there_says_so_and_leads_to_where_more_is_said() -> None:
    html = rendered(offer(), chosen=Preselection(OTHER, None, "a"))
    assert checked(html) == [ENVIRONMENT]
    assert all(one["type"] == "radio" for one in Inputs(html).inputs)
    for page in (html, rendered(chosen=Preselection(OTHER))):
        assert "is not built yet, does not exist, or is not shared with you" in page
        assert f"/services/guix/environments/{OTHER}" in Inputs(page).links


def test_many_environments_can_be_searched_without_sending_for_what() -> None:
    def searched(count: int) -> list[dict[str, str | None]]:
        return [one for one in Inputs(rendered(*[offer()] * count)).inputs if one["type"] == "search"]

    assert searched(MANY - 1) == []
    [field] = searched(MANY)
    assert "name" not in field


def test_nothing_to_choose_leads_to_where_there_will_be() -> None:
    page = Inputs(html := rendered())
    assert page.inputs == []
    assert page.links == ["/services/guix/"]
    assert NOTHING_TO_START in html


@pytest.mark.parametrize("field", ["name", "description", "shared_by"])
def test_no_text_becomes_html(field: str) -> None:
    html = rendered(offer(ENVIRONMENT, **{field: f"{HOSTILE}<img src=x onerror=alert(1)>{{name}}%s"}))
    assert HOSTILE in Inputs(html).text
    assert "img" not in Inputs(html).tags
    for offers in ([offer()], []):
        assert "img" not in Inputs(render_form(offers, Preselection(), '"><img src=x>', now=NOW)).tags
    chosen = Preselection(ENVIRONMENT, None, f'"><img src=x>{HOSTILE}')
    assert "img" not in Inputs(rendered(offer(), chosen=chosen)).tags


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=5, minutes=3), "5 hours ago"),
        (timedelta(days=400), "400 days ago"),
    ],
)
def test_how_long_ago(before: timedelta, words: str) -> None:
    assert ago(NOW - before, NOW) == words


def test_people_find_what_is_theirs_or_shared_with_them(records: Records) -> None:
    def found(name: str, *groups: str, admin: bool = False) -> list[tuple[str, str]]:
        offers = offers_for(records, Applicant(name, frozenset(groups), admin))
        return [(one.name, one.shared_by) for one in offers]

    assert found("ada") == [("An analysis", "")]
    assert found("bob") == []
    assert found("bob", admin=True) == []
    records.write_environment(environment(visibility=Visibility.GROUPS, groups=("lab",)))
    assert found("bob", "lab") == [("An analysis", "ada")]


def test_an_address_that_is_none_any_more_keeps_nobody_from_the_rest(records: Records) -> None:
    records.write_environment(environment(repository="https://git.example/" + "a" * 300))
    records.write_version(OTHER, version())
    records.write_environment(environment(id=OTHER, name="Another"))
    assert [one.id for one in offers_for(records, Applicant("ada", frozenset(), admin=False))] == [OTHER]


def test_ones_own_come_first_and_each_by_name(records: Records) -> None:
    others = {"eccccccccccc": ("bob", "all"), "eddddddddddd": ("ada", "Zeta"), "eeeeeeeeeeee": ("bob", "Beta")}
    for identifier, (owner, name) in others.items():
        known = EnvironmentId(identifier)
        records.write_version(known, version())
        records.write_environment(environment(id=known, owner=owner, name=name, visibility=Visibility.EVERYONE))
    found = offers_for(records, Applicant("ada", frozenset(), admin=False))
    assert [one.name for one in found] == ["An analysis", "Zeta", "all", "Beta"]


def test_a_damaged_version_is_left_out(records: Records) -> None:
    (records.version_folder(ENVIRONMENT, VERSION) / "version.json").write_text("{")
    assert offers_for(records, Applicant("ada", frozenset(), admin=False)) == []
