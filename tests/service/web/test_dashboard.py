"""The dashboard shows what the service really measures, in the form that Grafana imports."""

import json
import re
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from guix_build_service.web.settings import shared_folder
from tests.service.web.conftest import Site

DASHBOARD = json.loads((shared_folder("grafana") / "guixspawner.json").read_text())
NAME = re.compile(r"guix_build_service_\w+")
SELECTED = re.compile(r"(guix_build_service_\w+)\{([^}]*)\}")


def queries() -> Iterator[str]:
    """Yield everything that Prometheus is asked."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


async def test_every_figure_on_it_is_one_of_the_services_and_has_these_labels(site: Site) -> None:
    await site.ready("good", "ada")
    text = (await site.ask("GET", "metrics", token="token-watcher")).body.decode()
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels.setdefault(sample.name, {"job"}).update(sample.labels)
    named = {name for query in queries() for name in NAME.findall(query)}
    assert named <= labels.keys()
    # Each measure is on it but those that go with another: a histogram has its sum, count and moment of making.
    beside = re.compile(r"_(created|sum|count)$")
    assert {name for name in labels if name.startswith("guix_build_service_") and not beside.search(name)} <= named
    for query in queries():
        for name, selector in SELECTED.findall(query):
            assert set(re.findall(r"(\w+)(?:=~|!~|=|!=)", selector)) <= labels[name], query
        for grouped in re.findall(r"by \(([^)]*)\)", query):
            known = set[str]().union(*(labels[name] for name in NAME.findall(query)))
            assert set(grouped.replace(" ", "").split(",")) <= known, query


def test_it_has_what_grafana_needs() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["title"]
    assert re.fullmatch(r"[\w-]{1,40}", DASHBOARD["uid"])
    assert "id" not in DASHBOARD, "an installation gives numbers itself"
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 5
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["title"]
        assert panel["description"]
        assert panel["targets"]
        for where in (panel, *panel["targets"]):
            assert where["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} covers another panel"
        taken |= cells
        assert set(re.findall(r"\$(\w+)", " ".join(target["expr"] for target in panel["targets"]))) <= variables.keys()
