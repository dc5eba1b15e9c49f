"""Records of Zenodo become versions, or are refused.

The site is one of ours that answers as is written elsewhere. A record (``id``, ``conceptrecid``, ``created``, ``files`` with
``key``, ``size`` and ``checksum``, their content below ``/files/NAME/content``) is as in programs that use it; that the one
folder of a zip archive is left out, as in repo2docker's ``test_zenodo.py``. That a number for all versions is answered with
a redirect to the newest one is written nowhere. The real site was not asked.
"""

import asyncio
import subprocess
import threading
from pathlib import Path

import pytest

from guix_build_service.archives.records import Record
from guix_build_service.manager.manager import Manager
from guix_build_service.model.environments import BuildState, NewEnvironment, Person
from guix_environment.errors import GuixSpawnerError
from guix_environment.repository_url import RepositoryUrl
from tests.git_server import IDENTITY
from tests.service.archives.archive_site import CREATED, ArchiveSite, Reply, zipped
from tests.service.archives.building import ADA, BOB, FILES, built, failed, in_repository


async def test_a_record_becomes_a_version_that_sessions_can_copy(
    manager: Manager, site: ArchiveSite, tmp_path: Path
) -> None:
    site.publish(7, {"plots.zip": zipped(FILES)})
    detail = await built(manager, f"{site.url}/records/7")
    assert detail.version is not None
    assert (detail.state, detail.version.ref) == (BuildState.READY, "7")
    listed = in_repository(tmp_path, detail, "ls-tree", "-r", "--name-only", "-z", "refs/heads/7").split("\0")[:-1]
    assert listed == ["manifest.scm", "notes/a b.ipynb"]
    shown = in_repository(tmp_path, detail, "show", "--no-patch", "--format=%an|%ae|%at|%ct|%P|%B", detail.version.commit)
    assert shown.strip() == "127.0.0.1|records@127.0.0.1|1560158871|1560158871||Record 7"


async def test_a_session_gets_a_working_copy_of_a_record(manager: Manager, site: ArchiveSite, tmp_path: Path) -> None:
    site.publish(7, {"plots.zip": zipped(FILES)})
    detail = await built(manager, f"{site.url}/records/7")
    assert detail.version is not None
    home = tmp_path / "home"
    home.mkdir()
    variables = IDENTITY | {
        "HOME": str(home),
        "GUIX_PROJECT_SOURCE": str(tmp_path / "records" / "environments" / detail.environment.id / "repository.git"),
        "GUIX_PROJECT_NAME": "zenodo-7",
        "GUIX_PROJECT_OTHER_NAME": "zenodo-7-41c409",
        "GUIX_PROJECT_ADDRESS": "https://zenodo.org/records/7",
        "GUIX_PROJECT_ARCHIVED": "yes",
        "GUIX_PROJECT_COMMIT": detail.version.commit,
        "GUIX_PROJECT_REF": detail.version.ref,
    }
    script = Path(__file__).parents[3] / "guixspawner" / "session" / "project.sh"
    subprocess.run(["bash", "-c", f". {script}"], env=variables, check=True, capture_output=True)
    assert (home / "zenodo-7" / "notes" / "a b.ipynb").read_text() == "{}"
    at = ["git", "-C", str(home / "zenodo-7")]
    said = subprocess.run([*at, "status", "--short", "--branch"], env=variables, check=True, capture_output=True, text=True)
    assert said.stdout == "## 7\n"


async def test_a_record_that_is_known_is_not_downloaded_again(manager: Manager, site: ArchiveSite) -> None:
    site.publish(7, {"plots.zip": zipped(FILES)})
    first = await built(manager, f"{site.url}/records/7")
    site.asked.clear()
    again = await built(manager, f"{site.url}/records/7")
    assert (again.environment.id, again.version) == (first.environment.id, first.version)
    assert site.asked == [("GET", "/api/records/7")]


async def test_a_number_for_all_versions_leads_to_the_newest(manager: Manager, site: ArchiveSite) -> None:
    site.publish(7, {"manifest.scm": b"(list)"}, concept=6)
    site.reply("/api/records/6", Reply(status=302, location="/api/records/7"))
    first = await built(manager, f"{site.url}/records/6")
    site.publish(9, {"manifest.scm": b"(list 1)"}, concept=6)
    site.reply("/api/records/6", Reply(status=302, location=f"{site.url}/api/records/9"))
    second = await built(manager, f"{site.url}/records/6")
    assert first.version is not None
    assert second.version is not None
    assert (first.version.ref, second.version.ref) == ("7", "9")
    assert [version.ref for version in await manager.versions(first.environment.id, ADA)] == ["9", "7"]
    assert (await manager.resolve(f"{site.url}/records/6", "7", ADA)).ref == "7"


async def test_what_is_looked_up_of_a_record_tells_its_number(manager: Manager, site: ArchiveSite) -> None:
    site.publish(7, {"plots.zip": zipped(FILES)})
    found = await manager.resolve(f"{site.url}/records/7", "", ADA)
    assert (found.ref, found.commit) == ("7", None)
    assert site.asked == [("GET", "/api/records/7")]


async def test_many_who_ask_for_a_record_at_once_wait_for_one_build(manager: Manager, site: ArchiveSite) -> None:
    content, all_asked = zipped(FILES), threading.Event()
    site.publish(7, {"plots.zip": content})
    site.reply("/api/records/7/files/plots.zip/content", Reply(content, after=all_asked))
    asking = (manager.add_environment(NewEnvironment(f"{site.url}/records/7"), Person(f"p{n}")) for n in range(10))
    added = await asyncio.gather(*asking)
    all_asked.set()
    assert len({detail.build.id for detail in added if detail.build is not None}) == 1


async def test_another_commit_than_was_asked_for_is_no_version(manager: Manager, site: ArchiveSite) -> None:
    site.publish(7, {"plots.zip": zipped(FILES)})
    right = (await built(manager, f"{site.url}/records/7")).version
    assert right is not None
    assert (await built(manager, f"{site.url}/records/7", right.commit, BOB)).state is BuildState.READY
    wrong = await built(manager, f"{site.url}/records/7", "ab" * 20, BOB)
    assert failed(wrong)[0] == "ref-not-found"


async def test_what_is_no_version_of_a_record_is_refused(manager: Manager, site: ArchiveSite) -> None:
    site.publish(7, {"a": b"x"}, concept=6)
    site.publish(8, {"a": b"x"}, concept=5)
    for ref, code in (("main", "ref-not-found"), ("8", "ref-not-found"), ("9", "repository-unavailable")):
        with pytest.raises(GuixSpawnerError) as refused:
            await manager.resolve(f"{site.url}/records/7", ref, ADA)
        assert refused.value.code == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"files": []}, "repository-unavailable"),
        ({"files": [{"key": "a", "size": 1 << 40, "checksum": "md5:0"}]}, "repository-too-large"),
        ({"files": [{"key": "a", "size": 1, "checksum": "md5:0"}] * 201}, "repository-too-large"),
        ({"files": [{"key": "a", "size": -1, "checksum": "md5:0"}]}, "repository-too-large"),
        ({"files": [{"key": "a"}]}, "repository-unavailable"),
        ({"files": "a"}, "repository-unavailable"),
        ({"id": "../../x"}, "repository-unavailable"),
        ({"created": "2019-06-10"}, "repository-unavailable"),
    ],
)
def test_records_that_cannot_be_had_are_refused(changes: dict[str, object], code: str) -> None:
    known = {"id": 7, "created": CREATED, "files": [{"key": "a", "size": 1, "checksum": "md5:0"}]}
    url = RepositoryUrl.parse("https://zenodo.org/records/7")
    assert Record.parse(url, known).number == "7"
    answers: tuple[object, ...] = (known | changes, None, [])
    for answer in answers:
        with pytest.raises(GuixSpawnerError) as refused:
            Record.parse(url, answer)
        assert refused.value.code == (code if answer else "repository-unavailable")
        assert refused.value.hint


async def test_a_file_that_is_not_what_the_record_says_is_refused(manager: Manager, site: ArchiveSite) -> None:
    replies = {
        Reply(b"other"): "repository-unavailable",
        Reply(b"more than it said"): "repository-too-large",
        Reply(b"cont", length=7): "repository-unanswered",
        Reply(status=403): "repository-unavailable",
        Reply(status=429): "repository-unanswered",
        Reply(status=302, location="http://git.example/x"): "host-refused",
    }
    for number, (reply, code) in enumerate(replies.items(), start=1):
        site.publish(number, {"manifest.scm": b"wants"})
        site.reply(f"/api/records/{number}/files/manifest.scm/content", reply)
        assert failed(await built(manager, f"{site.url}/records/{number}"))[0] == code
