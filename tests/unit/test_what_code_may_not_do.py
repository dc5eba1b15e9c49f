"""What no code of ours does: each rule is tried on code that breaks it, and then on all that there is."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("guix_environment", "guixspawner", "guix_build_service", "guix_session")

SHELLS = {"asyncio.create_subprocess_shell", "subprocess.getoutput", "subprocess.getstatusoutput", "os.popen", "os.system"}
"""Functions of the standard library that hand a line to a shell."""

SQL = {"execute", "exec_driver_sql", "executemany", "executescript", "scalar", "scalars"}
"""Functions of databases that take SQL as text."""

OF_GITPYTHON = {"clone_from", "create_remote", "config_writer", "create_submodule", "submodule_update"}
"""Functions of GitPython that run Git with what they are given, or write what Git then does."""

HTML = re.compile(
    r"\b(?:innerHTML|outerHTML|srcdoc)\s*\+?=(?!=)"
    r"|\b(?:insertAdjacentHTML|createContextualFragment|document\.write(?:ln)?|setHTMLUnsafe|eval)\("
)
"""What in a script makes a document of a text."""

UNESCAPED = re.compile(
    r"[^'\"\s]\s*\|\s*safe\b|autoescape\s+false|<script(?![^>]*\bsrc=)|\son[a-z]+\s*=\s*[\"']|javascript:"
)
"""What in a template lets a text be a document, or is a script that the pages' own policy forbids."""

RUNNING = {"eval", "exec", *(f"{module}.{name}" for module in ("pickle", "marshal") for name in ("load", "loads"))}
"""Functions that run what is in a text or in bytes."""

Found = Iterator[tuple[int, str]]


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            yield node, function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def shells(tree: ast.AST) -> Found:
    """Yield what has a shell take words apart."""
    for call, name in calls(tree):
        given = any(word.arg == "shell" and not _is(word.value, False) for word in call.keywords)
        if given or ast.unparse(call.func) in SHELLS:
            yield call.lineno, name


def sql_of_parts(tree: ast.AST) -> Found:
    """Yield SQL that is put together from texts."""
    for call, name in calls(tree):
        takes_sql = name in SQL or ast.unparse(call.func) in {"text", "sa.text", "sqlalchemy.text"}
        if takes_sql and call.args and _is_made(call.args[0]):
            yield call.lineno, name


def git_of_strangers(tree: ast.AST) -> Found:
    """Yield what of GitPython runs Git."""
    for call, name in calls(tree):
        if name in OF_GITPYTHON:
            yield call.lineno, name


def run_texts(tree: ast.AST) -> Found:
    """Yield what runs a text, or makes an object of bytes that anybody may have written."""
    for call, name in calls(tree):
        if ast.unparse(call.func) in RUNNING:
            yield call.lineno, name


def html_of_texts(tree: ast.AST) -> Found:
    """Yield texts that are declared to be safe."""
    for call, name in calls(tree):
        if name in {"Markup", "mark_safe"}:
            yield call.lineno, name


def _is(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _is_made(node: ast.expr) -> bool:
    formatted = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format"
    joined = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod) and _has_text(node)
    return (
        formatted
        or joined
        or (isinstance(node, ast.JoinedStr) and any(not isinstance(part, ast.Constant) for part in node.values))
    )


def _has_text(node: ast.AST) -> bool:
    return any(isinstance(part, ast.JoinedStr | ast.Constant) for part in ast.walk(node))


RULES: dict[Callable[[ast.AST], Found], tuple[str, ...]] = {
    shells: ("import os; os.system('ls')", "run(['ls'], shell=True)", "asyncio.create_subprocess_shell(x)", "os.popen(x)"),
    sql_of_parts: (
        "connection.execute(f'SELECT {x}')",
        "connection.execute('SELECT ' + x)",
        "connection.execute('SELECT %s' % x)",
        "connection.execute(text('SELECT {}'.format(x)))",
        "connection.exec_driver_sql(f'DROP {x}')",
    ),
    git_of_strangers: ("git.Repo.clone_from(x, y)", "repo.create_remote('a', x)", "repo.config_writer()"),
    run_texts: ("eval(x)", "exec(x)", "pickle.loads(x)", "marshal.load(x)"),
    html_of_texts: ("Markup(x)", "markupsafe.Markup(x)"),
}
"""The rules, each with code that it finds."""

HARMLESS = """
run(["ls"], shell=False); system.run(x); connection.execute(select(table)); connection.execute("SELECT 1")
text = f"a {x}"; json.loads(x); evaluate(x); reader.text(f"{x}")
"""

ALLOWED = {
    # PRAGMA takes no parameters; the settings stand beside it.
    ("guix_build_service/store/engine.py", "execute"),
    ("guix_build_service/store/engine.py", "exec_driver_sql"),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_finds_what_breaks_it_and_nothing_else(rule: Callable[[ast.AST], Found]) -> None:
    for sample in RULES[rule]:
        assert list(rule(ast.parse(sample))), sample
    assert list(rule(ast.parse(HARMLESS))) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_code_of_ours_breaks_it(rule: Callable[[ast.AST], Found]) -> None:
    files = [path for package in PACKAGES for path in (CHECKOUT / package).rglob("*.py")]
    assert len(files) > 100
    broken = []
    for path in files:
        name = str(path.relative_to(CHECKOUT))
        found = rule(ast.parse(path.read_text()))
        broken += [f"{name}:{line} {what}" for line, what in found if (name, what) not in ALLOWED]
    assert broken == []


@pytest.mark.parametrize(
    ("rule", "samples"),
    [
        (HTML, ("x.innerHTML = y", "x.insertAdjacentHTML('a', y)", "document.write(y)", "eval(y)", "frame.srcdoc = y")),
        (UNESCAPED, ("{{ x | safe }}", "{{x|safe}}", "<script>x</script>", '<a onclick="x">', '<a href="javascript:x">')),
    ],
    ids=["HTML", "UNESCAPED"],
)
def test_what_makes_documents_of_texts_is_found(rule: re.Pattern[str], samples: tuple[str, ...]) -> None:
    assert [sample for sample in samples if not rule.search(sample)] == []
    assert not rule.search(
        'x.textContent = y; a = x.outerHTML; x.innerHTML === y; <script src="a.js"></script> {{ safely }} evaluated(x)'
    )


def test_no_page_of_ours_makes_a_document_of_a_text() -> None:
    scripts = list((CHECKOUT / "share/static").rglob("*.js"))
    templates = list((CHECKOUT / "share/templates/service").rglob("*.html"))
    assert len(scripts) > 3
    assert len(templates) > 5
    assert [path.name for path in scripts if HTML.search(path.read_text())] == []
    assert [path.name for path in templates if UNESCAPED.search(path.read_text())] == []


WORKFLOW = """
name: sample
on: push
permissions: {{}}
concurrency: {{group: sample, cancel-in-progress: true}}
jobs:
  sample:
    name: Sample
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    permissions: {permissions}
    steps:
      - uses: actions/checkout@{version}
        with: {{{settings}}}
      - run: echo {words}
"""
PINNED = "08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0"


@pytest.mark.parametrize(
    ("changed", "finding"),
    [
        ({}, ""),
        ({"version": "v5"}, "unpinned-uses"),
        ({"settings": ""}, "artipacked"),
        ({"permissions": "write-all"}, "excessive-permissions"),
        ({"words": "${{ github.event.issue.title }}"}, "template-injection"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_workflows_may_not_do_is_found(tmp_path: Path, changed: dict[str, str], finding: str) -> None:
    settings = {"version": PINNED, "settings": "persist-credentials: false", "permissions": "{}", "words": "done", **changed}
    workflows = tmp_path / ".github/workflows"
    workflows.mkdir(parents=True)
    (workflows / "sample.yml").write_text(WORKFLOW.format(**settings))
    [words] = [line for line in (CHECKOUT / "Makefile").read_text().splitlines() if "zizmor" in line]
    command = [str(Path(sys.executable).with_name("zizmor")), *words.split()[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == bool(finding), done.stdout
    assert finding in done.stdout
