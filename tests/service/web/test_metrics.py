"""What Prometheus reads is what happened."""

from prometheus_client.parser import text_string_to_metric_families

from tests.service.web.conftest import Site
from tests.service.web.test_binderhub import link, stream

KEY = str | tuple[str, str]


async def figures(site: Site) -> dict[KEY, float]:
    """Return the samples of the service by name, and by name and label where they have one."""
    answer = await site.ask("GET", "metrics", token="token-watcher")
    assert answer.code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "ada" not in answer.body.decode()
    assert "git.example" not in answer.body.decode()
    found: dict[KEY, float] = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            name = sample.name.removeprefix("guix_build_service_")
            labels = [value for label, value in sample.labels.items() if label != "le"]
            found[(name, labels[0]) if labels else name] = sample.value
    return found


async def test_what_happened_is_counted(site: Site) -> None:
    before = await figures(site)
    assert before["environments"] == before["requests_total", "build"] == before["profiles_bytes"] == 0
    await site.ready("good", "ada")
    await stream(site, link("good", "HEAD"))
    await stream(site, link("broken"))
    after = await figures(site)
    assert after["builds", "ready"] == after["builds", "failed"] == 1
    assert after["builds", "queued"] == 0
    assert (after["environments"], after["versions"], after["profiles_kept"]) == (2, 1, 1)
    assert after["profiles_bytes"] == 1_234_567_890
    assert after["requests_total", "build"] == 2
    assert after["requests_total", "nothing"] == 1
    assert after["build_profiles_total", "made"] == 1
    assert after["sessions_total"] == 1
    for state, number in {"queued": 2, "resolving": 2, "fetching": 2, "reading": 2, "building": 1}.items():
        assert after["phase_seconds_count", state] == number, state


async def test_those_who_ask_for_the_same_need_one_build(site: Site) -> None:
    for name in ("ada", "eve", "root"):
        body = {"repo": "https://git.example/a/slow"}
        await site.ask("POST", "api/v1/environments", token=f"token-{name}", json_body=body)
    found = await figures(site)
    assert found["requests_total", "build"] == 1
    assert found["requests_total", "running-build"] == 2
    site.pipeline.release.set()
