"""What an environment holds of the disk, as its owner asks for it."""

import json

from guix_environment.files import write_json
from tests.service.web.conftest import Site
from tests.service.web.scripted import PROFILE


async def test_bytes_are_told_where_they_are_known_and_null_where_not(site: Site) -> None:
    detail = await site.ready("good", "ada")
    assert detail.version is not None
    path = f"api/v1/environments/{detail.environment.id}/storage"
    answer = await site.ask("GET", path, token="token-ada")
    unknown = {"version": detail.version.id, "bytes": None, "in_session": False, "used": None}
    assert json.loads(answer.body) == {
        "environment": detail.environment.id,
        "bytes": None,
        "in_session": False,
        "used": None,
        "versions": [unknown],
    }
    known = {"closure": [PROFILE], "sizes": [1_234_567]}
    write_json(site.pipeline.workshop.state_folder / "profiles" / f"{detail.version.key}.json", known)
    share = {"size": 1_234_567, "alone": 1_234_567, "shared": 0, "frees": 1_234_567}
    found = json.loads((await site.ask("GET", path, token="token-ada")).body)
    assert found["bytes"] == share
    assert found["versions"] == [{**unknown, "bytes": share}]
