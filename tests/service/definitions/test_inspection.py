"""Which derivations are built for a manifest and which are not: read as data, without Guix."""

import random
from collections.abc import Mapping

import pytest

from guix_build_service.definitions import inspection
from guix_build_service.definitions.derivation import Derivation, Output, read_derivation
from guix_build_service.definitions.inspection import Allowance, Graph, Inspected, inspect
from guix_build_service.definitions.recorder import AddedText, Recorded
from guix_build_service.definitions.store_paths import text_path
from guix_environment.errors import DefinitionsRefused, InvalidInput
from guix_environment.identifiers import StorePath

SYSTEM = "x86_64-linux"
ALLOWANCE = Allowance(SYSTEM, ("files.example.org", "*.mirror.example"))
GUILE = StorePath("/gnu/store/0123456789abcdfghijklmnpqrsvwxyz-guile-3.0")
OUT = StorePath("/gnu/store/zyxwvsrqpnmlkjihgfdcba9876543210-mine")
FOREIGN = StorePath("/gnu/store/00000000000000000000000000000000-secret")
LEAKED = "http_proxy https_proxy LC_ALL LC_MESSAGES LANG COLUMNS"


def written(derivation: Derivation) -> str:
    """Return DERIVATION as Guix writes it."""

    def string(text: str) -> str:
        escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
        return f'"{text.translate(escapes)}"'

    def strings(texts: tuple[str, ...]) -> str:
        return ",".join(string(text) for text in texts)

    outputs = ",".join(f"({strings((o.name, o.path, o.algorithm, o.digest))})" for o in derivation.outputs)
    inputs = ",".join(f"({string(path)},[{strings(names)}])" for path, names in derivation.inputs)
    variables = ",".join(f"({strings(pair)})" for pair in derivation.variables)
    return (
        f"Derive([{outputs}],[{inputs}],[{strings(derivation.sources)}],{string(derivation.system)},"
        f"{string(derivation.builder)},[{strings(derivation.arguments)}],[{variables}])"
    )


class Recording:
    """Records derivations as Guix would add them."""

    def __init__(self) -> None:
        self.recorded = Recorded()
        self.mirrors = self.text("mirrors", b"()")
        fixed = Output("out", GUILE, "r:sha256", "00")
        self.guile = self.derivation("guile", outputs=(fixed,), builder="builtin:download", sources=(self.mirrors,))
        self.script = self.text("builder", b"(mkdir)")

    def text(self, name: str, content: bytes, references: tuple[StorePath, ...] = ()) -> StorePath:
        path = text_path(name, content, references)
        self.recorded.items[path] = AddedText(name, content, references)
        return path

    def derivation(
        self,
        name: str,
        *,
        outputs: tuple[Output, ...] = (Output("out", OUT, "", ""),),
        inputs: tuple[tuple[StorePath, tuple[str, ...]], ...] = (),
        sources: tuple[StorePath, ...] = (),
        system: str = SYSTEM,
        builder: str = f"{GUILE}/bin/guile",
        arguments: tuple[str, ...] = (),
        variables: Mapping[str, str] | None = None,
        references: tuple[StorePath, ...] | None = None,
    ) -> StorePath:
        value = Derivation(outputs, inputs, sources, system, builder, arguments, tuple((variables or {}).items()))
        needed = tuple(sorted(value.references)) if references is None else references
        return self.text(f"{name}.drv", written(value).encode(), needed)

    def mine(self, **changes: object) -> StorePath:
        """Record a package that only the manifest has, with CHANGES."""
        usual: dict[str, object] = {
            "inputs": ((self.guile, ("out",)),),
            "sources": (self.script,),
            "arguments": ("--no-auto-compile", self.script),
            "variables": {"out": OUT},
        }
        return self.derivation("mine", **{**usual, **changes})  # type: ignore[arg-type] # each by its own name

    def download(self, url: str = '"https://files.example.org/x.tar.gz"', **changes: object) -> StorePath:
        """Record a download that only the manifest has, with CHANGES."""
        usual: dict[str, object] = {
            "outputs": (Output("out", OUT, "sha256", "00"),),
            "builder": "builtin:download",
            "sources": (self.mirrors,),
            "variables": {"url": url, "mirrors": self.mirrors, "impureEnvVars": LEAKED, "out": OUT, "preferLocalBuild": "1"},
        }
        return self.derivation("x.tar.gz", **{**usual, **changes})  # type: ignore[arg-type] # as above

    def inspected(self, wanted: StorePath, allowance: Allowance = ALLOWANCE) -> Inspected:
        return inspect(Graph(self.recorded), [wanted], [self.guile], allowance)


def test_a_derivation_is_read_as_it_was_written() -> None:
    value = Derivation(
        (Output("out", OUT, "", ""), Output("lib", GUILE, "r:sha256", "ab")),
        ((GUILE, ("out", "lib")),),
        (OUT,),
        SYSTEM,
        "/bin/sh",
        ("-c", 'a "quoted"\n\tword\\'),
        (("name", "väl\nue"), ("empty", "")),
    )
    assert read_derivation(written(value)) == value


def test_anything_else_is_no_derivation() -> None:
    recording = Recording()
    item = recording.recorded.items[recording.mine()]
    assert isinstance(item, AddedText)
    text = item.content.decode()
    seed = random.Random(4)
    for _ in range(3000):
        position = seed.randrange(len(text))
        changed = text[:position] + seed.choice(["", '"', "(", "]", ",", "\\", "x", "\0"]) + text[position + 1 :]
        # Some of it still is one, of other strings; nothing raises anything else.
        try:
            read_derivation(changed)
        except InvalidInput:
            continue
    for wrong in ("", "Derive(", text[:-1], f"{text} ", f"{text}{text}", text.replace("Derive", "derive")):
        with pytest.raises(InvalidInput):
            read_derivation(wrong)


def test_a_package_is_built_as_guix_builds_its_own() -> None:
    recording = Recording()
    mine = recording.mine(variables={"out": OUT, "exportReferencesGraph": f"graph {GUILE}", "guix properties": "()"})
    recording.text("never-asked-for", b"")
    found = recording.inspected(mine)
    assert found.new == ("mine",)
    assert found.hosts == frozenset()
    assert set(found.additions) == {recording.mirrors, recording.guile, recording.script, mine}
    assert found.additions.index(recording.script) < found.additions.index(mine)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"system": "aarch64-linux"}, "another kind of machine"),
        ({"builder": "/bin/sh"}, "built by a program that is no part"),
        ({"builder": f"{FOREIGN}/bin/sh"}, "built by a program that is no part"),
        ({"builder": f"{GUILE}-other/bin/sh"}, "built by a program that is no part"),
        ({"builder": "builtin:unknown"}, "downloaded by a program"),
        ({"builder": "builtin:download"}, "downloaded by a program"),
        ({"outputs": ()}, "has no outputs"),
        ({"variables": {"impureEnvVars": "HOME"}}, "sets impureEnvVars"),
        ({"variables": {"__noChroot": "1"}}, "sets __noChroot"),
        ({"variables": {"exportReferencesGraph": f"graph {FOREIGN}"}}, "asks what something refers to"),
        ({"references": ()}, "does not say what it needs"),
        ({"outputs": (Output("out", OUT, "r:sha256", "00"),)}, "downloaded by a program"),
        ({"outputs": (Output("out", OUT, "r:sha256", ""),)}, "downloaded by a program"),
    ],
)
def test_a_build_that_reaches_beyond_itself_is_refused(changes: Mapping[str, object], said: str) -> None:
    recording = Recording()
    with pytest.raises(DefinitionsRefused, match=said):
        recording.inspected(recording.mine(**changes))


def test_outputs_that_there_are_not_and_items_of_others_are_refused() -> None:
    recording = Recording()
    with pytest.raises(DefinitionsRefused, match="needs an output"):
        recording.inspected(recording.mine(inputs=((recording.guile, ("debug",)),)))
    with pytest.raises(DefinitionsRefused, match="neither Guix's nor the manifest's"):
        recording.inspected(recording.mine(sources=(recording.script, FOREIGN)))
    with pytest.raises(DefinitionsRefused, match="neither Guix's nor the manifest's"):
        recording.inspected(StorePath(f"{FOREIGN}.drv"))


@pytest.mark.parametrize(
    "url",
    ['"https://files.example.org/x.tar.gz"', '("https://a.mirror.example/x" "https://files.example.org:443/x?y=z")'],
)
def test_a_download_from_an_allowed_host_is_let_through(url: str) -> None:
    recording = Recording()
    source = recording.download(url)
    found = recording.inspected(recording.mine(inputs=((recording.guile, ("out",)), (source, ("out",)))))
    assert found.new == ("x.tar.gz", "mine")
    assert "files.example.org" in found.hosts
    with pytest.raises(DefinitionsRefused, match=r"is to be downloaded from (files|a\.mirror)\."):
        recording.inspected(source, Allowance(SYSTEM))


def test_a_git_repository_is_a_download_too() -> None:
    recording = Recording()
    usual = {"url": '"https://files.example.org/x.git"', "commit": "abc", "recursive?": "#f", "out": OUT}
    fetched = recording.download(builder="builtin:git-download", sources=(), variables=usual)
    assert recording.inspected(fetched).hosts == {"files.example.org"}
    deep = {**usual, "recursive?": "#t"}
    with pytest.raises(DefinitionsRefused, match="with others in it"):
        recording.inspected(recording.download(builder="builtin:git-download", sources=(), variables=deep))


@pytest.mark.parametrize(
    "url",
    [
        '"https://evil.example/x"', '("https://files.example.org/x" "https://evil.example/x")',
        '"http://files.example.org/x"', '"mirror://gnu/hello"', '"file:///etc/passwd"', '"ftp://files.example.org/x"',
        '"https://files.example.org:8443/x"', '"https://files.example.org@evil.example/x"',
        '"https://files.example.org\\\\@evil.example/x"', '"https://evil.example#files.example.org/x"',
        '"https://files.example.org"', '"https://FILES.example.org/x"', '"https://files.example.org/x y"',
        '"https://xmirror.example/x"', '"https://files.example.org.evil.example/x"', '"https://[::1]/x"',
        '"https://127.0.0.1/x"', '"https://files.example.org./x"', '""', "", "()", "(1)", '"a" "b"', '("a" . "b")',
        "https://files.example.org/x", "#.(system)",
    ],
)  # fmt: skip
def test_a_download_from_anywhere_else_is_refused(url: str) -> None:
    recording = Recording()
    with pytest.raises(DefinitionsRefused):
        recording.inspected(recording.download(url))


def test_a_download_in_another_way_than_guixs_is_refused() -> None:
    recording = Recording()
    own = recording.text("own-mirrors", b'((gnu "https://evil.example/"))')
    usual = {"url": '"https://files.example.org/x"', "out": OUT}
    script = recording.script
    wrong: list[Mapping[str, object]] = [
        {"sources": (own,), "variables": {**usual, "content-addressed-mirrors": own}},
        {"sources": (own,), "variables": {**usual, "mirrors": own}},
        {"variables": {**usual, "impureEnvVars": "HOME GUIX_DAEMON_SECRET"}},
        {"variables": {**usual, "download-methods": "(swh)"}},
        {"builder": f"{GUILE}/bin/guile", "inputs": ((recording.guile, ("out",)),), "arguments": (script,)},
        {"builder": "builtin:download", "arguments": ("x",)},
        {"outputs": (Output("out", OUT, "", ""),)},
        {"outputs": (Output("out", OUT, "sha256", "00"), Output("lib", GUILE, "sha256", "00"))},
        {"outputs": (Output("lib", OUT, "sha256", "00"),)},
    ]
    for changes in wrong:
        with pytest.raises(DefinitionsRefused):
            recording.inspected(recording.download(**changes))  # type: ignore[arg-type] # each by its own name


def test_a_download_of_guixs_own_is_nobodys_business_but_no_other_of_that_name() -> None:
    recording = Recording()
    usual = {"url": '"mirror://gnu/hello.tar.gz"', "mirrors": recording.mirrors, "out": OUT}
    theirs = recording.download(variables=usual)
    mine = recording.mine(inputs=((recording.guile, ("out",)), (theirs, ("out",))))
    assert inspect(Graph(recording.recorded), [mine], [recording.guile, theirs], Allowance(SYSTEM)).new == ("mine",)
    with pytest.raises(DefinitionsRefused):
        recording.inspected(mine)


def test_guixs_mirrors_are_allowed_by_their_names() -> None:
    recording = Recording()
    usual = {"url": '"mirror://gnu/hello.tar.gz"', "mirrors": recording.mirrors, "out": OUT}
    source = recording.download(variables=usual)
    for allowed in ("mirror://gnu", "mirror://*", "*"):
        assert recording.inspected(source, Allowance(SYSTEM, (allowed,))).hosts == {"mirror://gnu"}
    for others in ((), ("gnu",), ("mirror://gnome",), ("files.example.org",)):
        with pytest.raises(DefinitionsRefused, match=r"from mirror://gnu, and packages"):
            recording.inspected(source, Allowance(SYSTEM, others))
    unlisted = recording.download(variables={"url": usual["url"], "out": OUT})
    with pytest.raises(DefinitionsRefused, match="no plain https address"):
        recording.inspected(unlisted, Allowance(SYSTEM, ("*",)))


def test_how_many_and_how_large_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MOST_DERIVATIONS", 10)
    recording = Recording()
    many = [recording.mine(variables={"out": OUT, "number": str(index)}) for index in range(11)]
    recording.inspected(recording.derivation("ten", inputs=tuple((path, ("out",)) for path in many[:9]), builder=OUT))
    with pytest.raises(DefinitionsRefused, match="more than 10 derivations"):
        recording.inspected(recording.derivation("all", inputs=tuple((path, ("out",)) for path in many), builder=OUT))
    large = Recording()
    wanted = large.mine(variables={"text": "x" * inspection.LARGEST_DERIVATION})
    with pytest.raises(DefinitionsRefused, match="a derivation of more than"):
        large.inspected(wanted)
    damaged = Recording()
    with pytest.raises(DefinitionsRefused, match="is no derivation"):
        damaged.inspected(damaged.text("x.drv", b"Derive()"))
