"""Manifests that make packages themselves, with the real Guix: what is built of them, and what is refused before that."""

import json
import os
import pwd
import secrets
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guix_build_service.command_line import main
from guix_build_service.definitions import recorder
from guix_build_service.definitions.additions import INDEX, write_additions
from guix_build_service.definitions.answer import defined
from guix_build_service.definitions.lowering import lowered
from guix_build_service.definitions.recorder import AddedText, Recorded
from guix_build_service.definitions.store_paths import text_path
from guix_build_service.jail.evaluation import Evaluation
from guix_build_service.manifest.canonical import Definition, Entry, Named, PackageList
from guix_build_service.model.environments import Build, BuildState, NewEnvironment
from guix_build_service.pipeline import guix as guix_questions
from guix_build_service.pipeline.definitions import definitions
from guix_build_service.pipeline.guix import own_derivations, search_path, system
from guix_build_service.pipeline.lower import lowering
from guix_build_service.program.application import account_name
from guix_environment.errors import BuildFailure, DefinitionsRefused, EvaluationFailed
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import StorePath
from tests.git_server import GitServer
from tests.service.git.test_repositories import Client
from tests.service.installation import ADA, Installation, installation
from tests.service.jail.test_jail_attacks import LAB, jail
from tests.service.listing import environments_for

pytestmark = [pytest.mark.guix, pytest.mark.timeout(600)]

ROOT = LAB if LAB.exists() else Path("/")
ACCOUNT = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() else "nobody"

MODULES = """
(use-modules (guix) (guix packages) (guix monads) (guix derivations) (guix build-system trivial)
             (gnu packages) (gnu packages base) (srfi srfi-9))
"""


def package(name: str, more: str = "", *, builder: str = "", source: str = "#f") -> str:
    """Return the text of a package NAME with a program of that name that says so, and MORE fields."""
    program = f"""(let ((program (string-append #$output "/bin/{name}")))
        (mkdir #$output) (mkdir (dirname program))
        (call-with-output-file program
          (lambda (port) (display "#!/bin/sh\\necho this is {name}\\n" port)))
        (chmod program #o755))"""
    return f"""
    (package (name "{name}") (version "1.0") (source {source}) (build-system trivial-build-system)
      (arguments (list #:builder #~(begin {builder or program}))) {more}
      (home-page #f) (synopsis #f) (description #f) (license #f))"""


def only(text: str) -> str:
    """Return a manifest of the one package that is TEXT."""
    return f"{MODULES}(packages->manifest (list {text}))"


def asking_the_store(expression: str) -> str:
    """Return a manifest with a package that does EXPRESSION with the `store` as soon as Guix asks how it is built."""
    return f"""{MODULES}
    (define-record-type <asking> (make-asking) asking?)
    (define-gexp-compiler (asking-compiler (asking <asking>) system target)
      (lambda (store) (values {expression} store)))
    (packages->manifest (list {package("asking", builder="#$(make-asking)")}))
    """


@pytest.fixture
async def service(tmp_path: Path, git_server: GitServer, guix_profiles: Path) -> AsyncIterator[Installation]:
    """A service on the real Guix that builds what the manifests of the test's Git server make."""
    host = git_server.host.partition(":")[0]

    def evaluation(guix: GuixCommand) -> Evaluation:
        return Evaluation(guix, account=ACCOUNT, root=ROOT, building_repositories=(host,))

    roots = guix_profiles / "environments"
    async with installation(tmp_path / "service", git_server.host, roots=roots, evaluation=evaluation) as running:
        yield running


async def built(service: Installation, git_server: GitServer, files: dict[str, str]) -> Build:
    """Return the build of a repository of FILES, at its end."""
    name = f"defined-{secrets.token_hex(4)}"
    git_server.commit(name, files)
    return await service.finished(await service.manager.add_environment(NewEnvironment(git_server.url(name)), ADA))


async def test_a_manifest_makes_packages_and_gets_them(service: Installation, git_server: GitServer) -> None:
    # Made from nothing, with a file of the repository, what it propagates; inherited; changed below another; and what is
    # needed to build one, which may be another version of what is there besides.
    text = f"""{MODULES}
    (define other {package("other")})
    (define mine {package("mine", "(propagated-inputs (list other sed))")})
    (define from-file {
        package(
            "from-file",
            builder='(mkdir #$output) (copy-file #$source (string-append #$output "/data"))',
            source='(local-file "data.txt")',
        )
    })
    (define inherited (package (inherit other) (name "inherited")))
    (define changed ((package-input-rewriting `((,other . ,{package("replacement")})))
                     {package("above", "(propagated-inputs (list other))")}))
    (define newer (package (inherit other) (version "2.0")))
    (define developed {package("developed", "(native-inputs (list newer))")})
    (concatenate-manifests
      (list (packages->manifest (list mine inherited from-file changed grep))
            (package->development-manifest developed)))
    """
    build = await built(service, git_server, {"manifest.scm": text, "data.txt": "of the repository"})
    assert build.state is BuildState.READY, (build.error, await service.log(build.id))
    [environment] = await environments_for(ADA, service.manager)
    assert environment.version is not None
    version = service.records.read_version(environment.environment.id, environment.version.id)
    programs = {path.name for path in Path(version.profile, "bin").iterdir()}
    assert {"mine", "other", "above", "replacement", "sed", "grep"} <= programs
    for name, says in (("mine", "mine"), ("replacement", "replacement"), ("above", "above")):
        said = subprocess.run([f"{version.profile}/bin/{name}"], check=True, capture_output=True, text=True)
        assert said.stdout == f"this is {says}\n"
    assert Path(version.profile, "data").read_text() == "of the repository"
    log = await service.log(build.id)
    assert "manifest.scm alone has mine@1.0, inherited@1.0, from-file@1.0, above@1.0" in log
    # The same again is known, as the derivations are.
    again = await built(service, git_server, {"manifest.scm": f"{text} ;", "data.txt": "of the repository"})
    assert again.state is BuildState.READY
    assert "A profile of exactly these packages is there already." in await service.log(again.id)


async def test_a_build_that_wants_the_network_has_none(service: Installation, git_server: GitServer) -> None:
    builder = """(let* ((socket (socket PF_INET SOCK_STREAM 0)))
        (connect socket AF_INET (inet-pton AF_INET "192.0.2.1") 80))"""
    build = await built(service, git_server, {"manifest.scm": only(package("reaching", builder=builder))})
    assert build.state is BuildState.FAILED
    assert build.error is not None
    assert build.error["code"] == "build-failed"
    assert "Network is unreachable" in await service.log(build.id)


async def test_a_download_from_elsewhere_is_refused(service: Installation, git_server: GitServer) -> None:
    source = """(origin (method (@ (guix download) url-fetch)) (uri "https://files.example.org/x")
                        (sha256 (base32 "0000000000000000000000000000000000000000000000000000")))"""
    build = await built(service, git_server, {"manifest.scm": only(package("fetching", source=source, builder="#$source"))})
    assert build.state is BuildState.FAILED
    assert build.error is not None
    assert build.error["code"] == "definitions-refused"
    assert "files.example.org" in str(build.error["message"])
    assert "download_hosts" in str(build.error["hint"])
    assert service.roots.held() == {}


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ('(build-things store (list (add-text-to-store store "x" "")))', "to build something"),
        ("(collect-garbage store)", "to collect garbage"),
        ('(valid-path? store "/gnu/store/x")', "to say what is in it"),
        ('(add-to-store store "x" #t "sha256" "/etc/passwd")', "passwd"),
    ],
)
async def test_the_store_does_nothing_for_a_manifest(tmp_path: Path, expression: str, said: str) -> None:
    files = {"manifest.scm": asking_the_store(expression).encode()}
    with pytest.raises((DefinitionsRefused, EvaluationFailed), match=said):
        defined((await lowered(await jail(tmp_path), files, "manifest.scm", {}))[1])


async def test_only_files_of_the_repository_are_local(tmp_path: Path) -> None:
    files = {"manifest.scm": only(package("mine", source='(local-file "/etc/passwd")', builder="#$source")).encode()}
    with pytest.raises(EvaluationFailed, match="passwd"):
        defined((await lowered(await jail(tmp_path), files, "manifest.scm", {}))[1])


async def test_more_derivations_than_anybody_needs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of the real limit it would take half a minute.
    monkeypatch.setattr(recorder, "MOST_ITEMS", 2000)
    text = asking_the_store("""(let loop ((count 0))
        (add-text-to-store store (number->string count) "")
        (if (< count 100000) (loop (+ 1 count)) #f))""")
    with pytest.raises(DefinitionsRefused, match="more than 2000 items"):
        await lowered(await jail(tmp_path), {"manifest.scm": text.encode()}, "manifest.scm", {})


async def test_the_daemon_itself_refuses_a_derivation_that_makes_what_is_not_its_own(
    tmp_path: Path, git_server: GitServer
) -> None:
    git_server.commit("any", {"manifest.scm": ""})
    (tmp_path / "client").mkdir()
    job, _ = await Client(tmp_path / "client", git_server.host).fetched(git_server.url("any"))
    wrong = StorePath("/gnu/store/0123456789abcdfghijklmnpqrsvwxyz-mine")
    content = f'Derive([("out","{wrong}","","")],[],[],"{system()}","/bin/sh",[],[("out","{wrong}")])'.encode()
    path = text_path("mine.drv", content, [])
    write_additions(Recorded({path: AddedText("mine.drv", content, ())}), [path], job.folder / "additions")
    mine = Entry("mine@1", named=Named.DERIVATION, definition=Definition(path, (), ()), merged=False)
    guix = GuixCommand("guix", tmp_path, account_name(), search_path())
    index = job.folder / "additions" / INDEX
    with pytest.raises(BuildFailure):
        await lowering(guix, job, PackageList((mine,)), tmp_path / "names", index, build_seconds=60).__aenter__()
    assert "incorrect output" in job.log.path.read_text()


async def test_builds_of_guixs_own_are_told_from_those_of_the_manifest(tmp_path: Path) -> None:
    # An input of one of Guix's packages is changed: it is built anew, from its own source, which Guix downloads anyway.
    text = f"""{MODULES}
    (packages->manifest (list ((package-input-rewriting `((,sed . ,grep))) hello)
                              (package (inherit hello) (name "renamed") (arguments '(#:tests? #f)))))
    """
    evaluation = Evaluation(GuixCommand("guix", tmp_path, account_name(), search_path()), account=ACCOUNT, root=ROOT)
    found = await definitions(evaluation, {"manifest.scm": text.encode()}, "manifest.scm", tmp_path, {})
    assert [name.partition("-")[0] for name in found.inspected.new] == ["renamed"]
    assert found.inspected.hosts == frozenset()


async def test_names_that_keep_guix_busy_do_so_for_a_bounded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of the real limit it would take minutes.
    monkeypatch.setattr(guix_questions, "OWN_SECONDS", 0.01)
    with pytest.raises(BuildFailure, match="in time"):
        await own_derivations(GuixCommand("guix", tmp_path, account_name(), search_path()), ["hello-2.12"], tmp_path)


def test_a_command_says_what_would_be_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = """(origin (method (@ (guix download) url-fetch)) (uri "https://files.example.org/x")
                        (sha256 (base32 "0000000000000000000000000000000000000000000000000000")))"""
    (tmp_path / "manifest.scm").write_text(only(package("fetching", source=source, builder="#$source")))
    words = ["read", str(tmp_path / "manifest.scm"), "--json", "--evaluate", f"--guix-root={ROOT}"]
    assert main([*words, *(["--account=nobody"] if os.geteuid() == 0 else [])]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["problem"]["code"] == "packages-defined"
    assert answer["definitions"]["packages"] == ["fetching@1.0"]
    assert answer["definitions"]["downloads_from"] == ["files.example.org"]
    assert {"x", "fetching-1.0"} <= set(answer["definitions"]["builds"])
