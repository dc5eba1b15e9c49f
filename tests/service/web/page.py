"""What is asked of a page: its elements, and what every page must be."""

from html.parser import HTMLParser

from tests.service.web.conftest import PREFIX


class Page(HTMLParser):
    """What matters of a page: its elements, its headings, its ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def check(page: Page) -> None:
    """Hold PAGE against what every page must be."""
    assert len(page.all("h1")) == 1
    assert [each["lang"] for each in page.all("html")] == ["en"]
    for landmark in ("header", "nav", "main"):
        assert len(page.all(landmark)) == 1
    for script in page.all("script"):
        assert (script.get("src") or "").startswith(f"{PREFIX}static/")
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert "style" not in attributes
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    labelled = {label.get("for") for label in page.all("label")}
    for tag in ("input", "select", "textarea", "progress"):
        for control in page.all(tag):
            assert control.get("type") == "hidden" or control["id"] in labelled
    changing = [form for form in page.all("form") if form.get("role") != "search"]
    for form in changing:
        assert form["method"] == "post"
    described = [name for _, attributes in page.elements for name in (attributes.get("aria-describedby") or "").split()]
    assert set(described) <= set(identifiers)
    names = [attributes["name"] for attributes in page.all("input") if attributes.get("name") == "_xsrf"]
    assert len(names) == len(changing)
