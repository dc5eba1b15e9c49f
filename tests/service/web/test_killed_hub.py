"""A hub that is killed leaves its service on its port, and the hub after it has one that knows it."""

import time
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.containers import processes_with
from tests.service.web.real_hub import RealHub, running_hub

pytestmark = [pytest.mark.hub, pytest.mark.timeout(300)]

REAL_SERVICE = """
service = c.JupyterHub.services[0]
folders = [f"--BuildService.{{name}}_folder={folder}/own/{{name}}" for name in ("service", "records", "roots")]
service["command"] = [sys.executable, "-m", "guix_build_service", *folders]
"""


def services(hub: RealHub) -> list[Path]:
    return processes_with(f"--BuildService.service_folder={hub.folder}/own/service")


def logs_in(hub: RealHub, name: str) -> bool:
    page = hub.browser(name).ask("GET", hub.service, Sec_Fetch_Mode="navigate")
    return page.status == HTTPStatus.OK and "<h1>Environments</h1>" in page.text


def test_after_a_hub_was_killed_one_service_is_there_and_people_log_in(tmp_path: Path) -> None:
    with running_hub(tmp_path, "/", REAL_SERVICE.format(folder=tmp_path)) as hub:
        assert logs_in(hub, "ada")
        left = services(hub)
        assert len(left) == 1
        hub.kill()
        assert services(hub) == left, "as nobody told it to end"
        hub.start()
        # A process that the service is about to start has its words for a moment.
        while not logs_in(hub, "ada") or len(services(hub)) != 1:
            time.sleep(0.2)
        assert services(hub) != left
