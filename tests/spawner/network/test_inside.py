"""What a session is told and shown of its network."""

import json
from pathlib import Path

import pytest

from guix_environment.container import Mount, Network
from guixspawner.network import inside
from guixspawner.network.reach import fits_an_address, socket_url

HUB = {
    "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/base/hub/api",
    "JUPYTERHUB_ACTIVITY_URL": "http://127.0.0.1:8081/base/hub/api/users/ada%40x/activity",
    "JUPYTERHUB_SERVICE_PREFIX": "/base/user/ada/",
    "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:0/base/user/ada/",
    "JUPYTERHUB_API_TOKEN": "secret",
}
SERVER = "http+unix://%2Frun%2Fguix-environment%2Fsockets%2Fserver.sock/base/user/ada/"
API = "http+unix://%2Frun%2Fguix-environment%2Fgateway%2Fhub.sock/base/hub/api"


def test_a_server_of_hub_6_has_sockets_alone() -> None:
    assert inside.variables(HUB, Network.OWN, over_sockets=True, filtered=False) == {
        "JUPYTERHUB_SERVICE_URL": SERVER,
        "JUPYTERHUB_API_URL": API,
        "JUPYTERHUB_ACTIVITY_URL": f"{API}/users/ada%40x/activity",
        "GUIX_SESSION_RELAYS": "[]",
    }


def test_a_server_of_hub_5_has_a_port_of_its_own_for_the_api() -> None:
    found = inside.variables(HUB, Network.OWN, over_sockets=False, filtered=False)
    assert found["JUPYTERHUB_API_URL"] == HUB["JUPYTERHUB_API_URL"]
    assert found["JUPYTERHUB_ACTIVITY_URL"] == HUB["JUPYTERHUB_ACTIVITY_URL"]
    assert json.loads(found["GUIX_SESSION_RELAYS"]) == [[8081, "/run/guix-environment/gateway/hub.sock"]]


def test_programs_find_the_filter_where_they_look_for_it() -> None:
    found = inside.variables(HUB, Network.OWN, over_sockets=True, filtered=True)
    assert {found[name] for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")} == {"http://127.0.0.1:3128"}
    assert "127.0.0.1" in found["no_proxy"]
    assert json.loads(found["GUIX_SESSION_RELAYS"]) == [[3128, "/run/guix-environment/gateway/filter.sock"]]


def test_on_the_machines_network_the_hub_is_where_it_says() -> None:
    assert inside.variables(HUB, Network.HOST, over_sockets=True, filtered=False) == {"JUPYTERHUB_SERVICE_URL": SERVER}


def test_what_it_sees_of_the_installation() -> None:
    assert inside.mounts(Path("/s/ada.default/inner"), Path("/s/ada.default/gateway")) == (
        Mount("/s/ada.default/inner", "/run/guix-environment/sockets", writable=True, sealed=True),
        Mount("/s/ada.default/gateway", "/run/guix-environment/gateway", sealed=True),
    )


def test_the_machines_names_without_its_loopback() -> None:
    machine = b"127.0.0.1 localhost secret\n127.0.1.1 machine\n::1 localhost\n# words\nfe80::1 router\n10.0.0.7 git\n"
    found = inside.hosts(machine, Network.OWN)
    assert found.startswith(b"127.0.0.1 localhost\n")
    assert found.endswith(b"10.0.0.7 git\n")
    assert b"secret" not in found
    assert b"router" not in found, "link-local, as are the addresses of neighbours"
    assert inside.hosts(machine, Network.HOST) == machine


def test_a_machine_without_names_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    assert inside.machine_hosts(file) == b""
    for network in Network:
        assert inside.hosts(b"", network).startswith(b"127.0.0.1 localhost\n")
    file.write_bytes(b"10.0.0.7 git\n")
    assert inside.machine_hosts(file) == b"10.0.0.7 git\n"


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        ("/srv/guix/run/ada.default/server.sock", True),
        ("/srv/Guix/run/server.sock", False),
        ("/srv/a%2fb/server.sock", False),
        ("/srv/a b/server.sock", False),
        ("/" + "x" * 100, False),
    ],
)
def test_which_paths_come_out_of_the_hub_as_they_went_in(path: str, fits: bool) -> None:
    assert fits_an_address(Path(path)) is fits


def test_an_address_of_a_socket() -> None:
    assert socket_url("/srv/run/server.sock") == "http+unix://%2Fsrv%2Frun%2Fserver.sock"
