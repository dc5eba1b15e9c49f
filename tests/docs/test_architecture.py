"""The diagram of the rooms against what really imports what."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import grimp
import pytest

PAGE = Path(__file__).parents[2] / "docs/architecture.md"
PACKAGES = ("demo", "guix_build_service", "guix_environment", "guixlab", "guixspawner")
SERVICE = "guix_build_service"

Edge = tuple[str, str]

_NODE = re.compile(r'(\w+)\["([^"]+)"\]')


@dataclass(frozen=True)
class Diagram:
    rooms: dict[str, str]
    """From a package, or a module right below the service, to the box that it stands in."""
    edges: frozenset[Edge]


def parse(page: str) -> Diagram:
    """Return the one diagram in the text of PAGE; whatever in it is not understood is an error."""
    (source,) = re.findall(r"^```mermaid\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    first, *lines = source.splitlines()
    assert first == "flowchart TD"
    rooms: dict[str, str] = {}
    edges: list[Edge] = []
    inside = ""
    for line in lines:
        for box, label in _NODE.findall(line):
            names = [f"{inside}.{name}" if inside else name for name in label.split("<br/>")]
            assert not rooms.keys() & set(names), f"drawn twice: {line}"
            rooms |= dict.fromkeys(names, box)
        words = _NODE.sub(r"\1", line).strip()
        if begun := re.fullmatch(r"subgraph (\w+)", words):
            inside = begun[1]
            rooms[inside] = inside
        elif words == "end":
            inside = ""
        elif drawn := re.fullmatch(r"(\w+) --> (\w+(?: & \w+)*)", words):
            edges += [(drawn[1], target) for target in drawn[2].split(" & ")]
        else:
            assert re.fullmatch(r"\w+", words), f"not understood: {line}"
    assert len(edges) == len(set(edges)), "an arrow is drawn twice"
    assert {box for edge in edges for box in edge} <= set(rooms.values()), "an arrow to a box that is not there"
    return Diagram(rooms, frozenset(edges))


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def names_of(module: str) -> str:
    """Return the name by which the diagram knows MODULE."""
    package, *rest = module.split(".")
    return f"{package}.{rest[0]}" if package == SERVICE and rest else package


def real_edges(graph: grimp.ImportGraph, rooms: dict[str, str]) -> frozenset[Edge]:
    """Return which boxes really import which; between packages, the packages count."""
    found = set()
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            if importer.split(".")[0] == imported.split(".")[0]:
                found.add((rooms[names_of(importer)], rooms[names_of(imported)]))
            else:
                found.add((rooms[importer.split(".")[0]], rooms[imported.split(".")[0]]))
    return frozenset(edge for edge in found if edge[0] != edge[1])


def shown(edges: Iterable[Edge]) -> list[str]:
    return sorted(f"{importer} --> {imported}" for importer, imported in edges)


def test_every_package_and_every_room_of_the_service_is_drawn(imports: grimp.ImportGraph) -> None:
    drawn = parse(PAGE.read_text()).rooms.keys()
    assert set(drawn) == {names_of(module) for module in imports.modules}


def test_the_arrows_are_the_imports(imports: grimp.ImportGraph) -> None:
    diagram = parse(PAGE.read_text())
    real = real_edges(imports, diagram.rooms)
    assert shown(real - diagram.edges) == [], "imported, and not drawn"
    assert shown(diagram.edges - real) == [], "drawn, and not imported"


def test_an_arrow_less_or_more_is_seen(imports: grimp.ImportGraph) -> None:
    page = PAGE.read_text()
    real = real_edges(imports, parse(page).rooms)
    less = parse(page.replace("queue --> pipeline & ", "queue --> "))
    assert real - less.edges == {("queue", "pipeline")}
    more = parse(page.replace("store --> model", "store --> model & web"))
    assert more.edges - real == {("store", "web")}


@pytest.mark.parametrize("line", ["store -.-> model", "store --> nowhere", "logs --> model", "store --- model"])
def test_a_line_that_says_something_else_is_refused(line: str) -> None:
    page = PAGE.read_text()
    assert "        store --> model\n" in page
    with pytest.raises(AssertionError):
        parse(page.replace("        store --> model\n", f"        {line}\n"))
