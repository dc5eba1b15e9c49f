"""What an environment holds of the disk, at a command line."""

from guix_build_service.commands.outcomes import ExitStatus
from guix_environment.files import write_json
from guix_environment.records import Visibility
from tests.service.commands.conftest import Terminal
from tests.service.web.conftest import Site
from tests.service.web.scripted import PROFILE


async def test_what_is_held_is_shown_in_a_table_and_as_json(site: Site, terminal: Terminal) -> None:
    detail = await site.ready("good", "ada")
    version = detail.version
    assert version is not None
    said = await terminal("storage", detail.environment.id)
    head, row, together = (line.split() for line in said.out.splitlines())
    assert head[:5] == ["VERSION", "SIZE", "ALONE", "SHARED", "FREES"]
    assert row == [version.id, "?", "?", "?", "?", "no", "not", "seen"]
    assert together[0] == "together"

    known = {"closure": [PROFILE], "sizes": [5_000_000]}
    write_json(site.pipeline.workshop.state_folder / "profiles" / f"{version.key}.json", known)
    said = await terminal("storage", detail.environment.id)
    assert said.status == ExitStatus.DONE
    assert "4.8 MiB" in said.out.splitlines()[1]
    share = {"size": 5_000_000, "alone": 5_000_000, "shared": 0, "frees": 5_000_000}
    assert (await terminal("storage", detail.environment.id, "--json")).field("bytes") == share


async def test_who_may_not_delete_it_is_refused(site: Site, terminal: Terminal) -> None:
    detail = await site.ready("good", "ada", visibility=Visibility.EVERYONE)
    said = await terminal("storage", detail.environment.id, person="eve")
    assert said.status == ExitStatus.NOT_ALLOWED
    assert "Only the owner of this environment may" in said.err
