"""Whatever somebody asks for that cannot be: an answer that says what to do, and nothing left behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Installation
from tests.end_to_end.rest import API, Client, until
from tests.end_to_end.traces import Traces, traces_of
from tests.git_server import GitServer

pytestmark = [pytest.mark.guix, pytest.mark.hub, pytest.mark.timeout(900)]


@pytest.fixture
def before(installation: Installation, quiet: Client) -> Iterator[Traces]:
    """What is there before; afterwards the same is there, and nothing more."""
    environments = set(quiet.environments())
    traces = traces_of(installation.state)
    yield traces
    until(lambda: not traces_of(installation.state).beyond(traces), 15)
    assert set(quiet.environments()) == environments


@pytest.fixture
def addresses(git_server: GitServer, plain_server: str) -> dict[str, str]:
    git_server.commit("whole", {"manifest.scm": '(specifications->manifest (list "sed"))'})
    return {
        "no repository": f"http://{plain_server}/analysis.git",
        "no such repository": git_server.url("no-such"),
        "not allowed": "http://127.0.0.1:9/analysis.git",
        "private": "https://10.0.0.1/somebody/analysis",
        "whole": git_server.url("whole"),
    }


@pytest.mark.usefixtures("before")
@pytest.mark.parametrize(
    ("asked", "status", "code", "told", "hint"),
    [
        ({"repo": "no repository"}, 422, "repository-unavailable", "repository", "address"),
        ({"repo": "no such repository"}, 422, "repository-unavailable", "repository", "address"),
        ({"repo": "not allowed"}, 403, "host-refused", "HTTPS", "allow 127.0.0.1:9"),
        ({"repo": "private"}, 403, "host-refused", "10.0.0.1", "administrator"),
        ({"repo": "whole", "ref": "no-such-branch"}, 422, "ref-not-found", "no-such-branch", "branch"),
        ({"repo": "whole", "ref": "--upload-pack=x"}, 422, "invalid-ref", "", ""),
        ({"repo": "not an address"}, 422, "invalid-address", "", "https://"),
        ({"repo": "file:///etc"}, 403, "host-refused", "", ""),
    ],
)
def test_what_cannot_be_resolved_is_refused_at_once(
    person: Client,
    addresses: dict[str, str],
    asked: dict[str, str],
    status: int,
    code: str,
    told: str,
    hint: str,
) -> None:
    answer = person.add(**asked | {"repo": addresses.get(asked["repo"], asked["repo"])})
    print(answer.text)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert told in answer.error["message"]
    assert hint in answer.error.get("hint", "")
    assert "Traceback" not in answer.text


NO_MANIFEST = {"index.ipynb": "{}"}
UNBALANCED = {"manifest.scm": '(specifications->manifest\n  (list "python" "python-pandas"\n'}
PROGRAM = {"manifest.scm": '(system "touch /tmp/evaluated")\n'}
UNKNOWN = {"manifest.scm": '(specifications->manifest (list "python" "python-numpyy" "pandas"))\n'}
CONFLICT = {"manifest.scm": '(specifications->manifest (list "python" "python-numpy" "python-pandas"))\n'}
# Guix has it and the stand-ins do not, so that Guix must build it, from what cannot be downloaded here.
UNBUILDABLE = {"manifest.scm": '(specifications->manifest (list "hello"))\n'}


@pytest.mark.usefixtures("before")
def test_a_commit_that_does_not_exist_is_found_out_by_the_build(person: Client, addresses: dict[str, str]) -> None:
    answer = person.add(repo=addresses["whole"], ref="0" * 39 + "1")
    assert answer.status == 202, answer
    environment = person.built(answer.content["id"])
    error = environment["build"]["error"]
    print(error)
    assert (environment["state"], error["code"]) == ("failed", "ref-not-found")
    assert "0000000" in error["message"]
    assert error["hint"]
    assert person.ask("DELETE", f"{API}environments/{environment['id']}").status == 204


@pytest.mark.usefixtures("before")
@pytest.mark.parametrize(
    ("files", "code", "told", "hint"),
    [
        (NO_MANIFEST, "manifest-missing", ["manifest.scm"], "manifest.scm"),
        (UNBALANCED, "manifest-unreadable", ["manifest.scm", "line 2, column 3"], ""),
        (
            PROGRAM,
            "manifest-unreadable",
            ["manifest.scm", "line 1, column 1", "would run a program"],
            "specifications->manifest",
        ),
        (
            UNKNOWN,
            "packages-unknown",
            ["python-numpyy (perhaps python-numpy", "pandas (perhaps python-pandas"],
            "Correct the names",
        ),
        (
            CONFLICT,
            "packages-conflict",
            ["python-numpy 2.", "which the manifest names", "python-numpy 1.26.4", "which python-pandas needs"],
            'Remove "python-numpy" from the manifest',
        ),
        (UNBUILDABLE, "build-failed", ["hello cannot be built: it needs ", "which could not be downloaded"], "later"),
    ],
    ids=["no manifest", "unbalanced", "program", "unknown", "conflict", "unbuildable"],
)
def test_what_cannot_be_built_says_why(
    person: Client,
    git_server: GitServer,
    request: pytest.FixtureRequest,
    files: dict[str, str],
    code: str,
    told: list[str],
    hint: str,
) -> None:
    name = request.node.callspec.id.replace(" ", "-")
    git_server.commit(name, files)
    answer = person.add(repo=git_server.url(name))
    assert answer.status == 202, answer
    environment = person.built(answer.content["id"])
    if files is UNBUILDABLE and environment["state"] == "ready":
        person.ask("DELETE", f"{API}environments/{environment['id']}")
        pytest.skip("this Guix gets `hello` from its substitute servers")
    error = environment["build"]["error"]
    print(error)
    assert (environment["state"], error["code"]) == ("failed", code)
    for words in told:
        assert words in error["message"]
    assert error["hint"]
    assert hint in error["hint"]
    log = person.ask("GET", f"{API}builds/{environment['build']['id']}/log")
    assert error["message"] in log.text
    assert "Traceback" not in log.text
    assert not Path("/tmp/evaluated").exists()
    # It cannot be started, on no way in.
    assert person.ask("POST", f"{API}sessions", {"environment": environment["id"]}).status == 409
    options = {"user_options": {"environment": environment["id"]}}
    assert person.ask("POST", f"hub/api/users/{person.name}/servers/{name}", options).status == 404
    assert person.ask("DELETE", f"{API}environments/{environment['id']}").status == 204
