"""From records to the plan of a session's container."""

import dataclasses
import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import guix_session
from guix_environment import session_layout as layout
from guix_environment.container import ContainerPlan, Network, order
from guix_environment.errors import GuixSpawnerError, NotFound, RecordInvalid, RepositoryWithdrawn
from guix_environment.identifiers import EnvironmentId, VersionId
from guix_environment.processes import Account
from guix_environment.records import Records, Visibility
from guix_environment.repository_access import RepositoryAccess
from guix_session import apps, surroundings
from guixspawner.accounts import Person
from guixspawner.limits import Limits
from guixspawner.network.inside import Inside, mounts
from guixspawner.offers import offers_for
from guixspawner.options import parse_options
from guixspawner.session import Applicant, Surroundings, choose, limits, plan_session, project_name
from tests.spawner.conftest import BASH, ENVIRONMENT, OLD_VERSION, PROFILE, SERVER, VERSION, environment

ADA = Person("ada", "ada", Path("/srv/homes/ada"), Account(70000, 70000))
UNLIMITED = Limits(None, None)
HUB = {
    "PATH": "/usr/bin",
    "PYTHONPATH": "/opt/hub",
    "LD_LIBRARY_PATH": "/opt/hub/lib",
    "LANG": "de_DE.UTF-8",
    "JUPYTERHUB_API_TOKEN": "secret",
    "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:1234/user/ada/",
    "JUPYTERHUB_ROOT_DIR": "/root",
    "MEM_LIMIT": "1",
    "PROXY": "chosen by the administrator",
}


SERVER_ADDRESS = "http+unix://%2Frun%2Fguix-environment%2Fsockets%2Fserver.sock/user/ada/"
INSIDE = Inside(
    Network.OWN,
    mounts(Path("/srv/run/s/ada.default/inner"), Path("/srv/run/s/ada.default/gateway")),
    {"JUPYTERHUB_SERVICE_URL": SERVER_ADDRESS},
    resolv_conf=b"nameserver 198.18.0.3\n",
    hosts=b"127.0.0.1 localhost\n",
)


def planned(records: Records, limit: Limits = UNLIMITED, inside: Inside = INSIDE, **options: object) -> ContainerPlan:
    choice = choose(records, parse_options({"environment": ENVIRONMENT, **options}), applicant("ada"))
    around = Surroundings(HUB, {"PROXY"}, inside)
    return plan_session(records, records.read_server(), choice, ADA, limit, around)


@pytest.mark.parametrize("network", list(Network))
def test_the_network_is_the_one_that_was_made_ready(records: Records, network: Network) -> None:
    assert planned(records, inside=replace(INSIDE, network=network)).network is network


def applicant(name: str, *groups: str, admin: bool = False) -> Applicant:
    return Applicant(name, frozenset(groups), admin)


def test_the_container_sees_both_closures_and_nothing_else_of_the_store(records: Records) -> None:
    assert planned(records).store_items == (SERVER, BASH, PROFILE)


def test_what_of_the_machine_the_container_sees(records: Records) -> None:
    mounts = {(mount.source, mount.target, mount.writable) for mount in planned(records).mounts}
    assert mounts == {
        ("/srv/homes/ada", "/home/ada", True),
        (str(records.version_folder(ENVIRONMENT, VERSION)), layout.VERSION, False),
        (str(records.repository(ENVIRONMENT)), layout.REPOSITORY, False),
        ("/srv/run/s/ada.default/inner", layout.SOCKETS, True),
        ("/srv/run/s/ada.default/gateway", layout.GATEWAY, False),
        ("/etc/localtime", "/etc/localtime", False),
    }


def test_the_whole_environment_of_the_server(records: Records) -> None:
    plan = planned(records, Limits(2**30, 1.5))
    assert plan.secrets == {"JUPYTERHUB_API_TOKEN": "secret", "PROXY": "chosen by the administrator"}
    variables = plan.variables
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS"), "2")
    assert variables == threads | {
        "PATH": f"{SERVER}/bin",
        "LANG": "de_DE.UTF-8",
        "TERM": "xterm-256color",
        "TZ": ":/etc/localtime",
        "SSL_CERT_DIR": "/etc/ssl/certs",
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
        "JUPYTERHUB_SERVICE_URL": SERVER_ADDRESS,
        "JUPYTERHUB_ROOT_DIR": "/home/ada",
        "JUPYTERLAB_WORKSPACES_DIR": f"/home/ada/.jupyter/lab/workspaces-{ENVIRONMENT}",
        "MEM_LIMIT": str(2**30),
        "CPU_LIMIT": "1.5",
        "HOME": "/home/ada",
        "USER": "ada",
        "LOGNAME": "ada",
        "SHELL": layout.SHELL,
        "TMPDIR": "/tmp",
        "XDG_RUNTIME_DIR": "/run/user/1000",
        "JUPYTER_PATH": layout.VERSION,
        "JUPYTER_RUNTIME_DIR": "/run/user/1000/jupyter",
        "GUIX_SESSION_TOOLS": f"{SERVER}/bin",
        "GUIX_SESSION_ENVIRONMENT": "An analysis",
        "GUIX_SESSION_PROFILE": PROFILE,
        "GUIX_SESSION_URLPATH": "",
        "GUIX_PROJECT_SOURCE": layout.REPOSITORY,
        "GUIX_PROJECT_NAME": "analysis",
        "GUIX_PROJECT_OTHER_NAME": "analysis-41c409",
        "GUIX_PROJECT_ADDRESS": "https://git.example/somebody/analysis",
        "GUIX_PROJECT_ARCHIVED": "",
        "GUIX_PROJECT_COMMIT": "c0ffee" + "0" * 34,
        "GUIX_PROJECT_REF": "main",
        "GUIX_PROJECT_OPEN": "index.ipynb",
    }


def test_nothing_secret_is_on_the_command_line(records: Records) -> None:
    plan = planned(records)
    assert plan.command == (
        *(f"{SERVER}/bin/tini", "--", f"{SERVER}/lib/server-layer/bin/python3", "-I"),
        "/run/guix-environment/session/python/guix_session/__main__.py",
    )
    assert b"secret" in order(plan)


def test_the_sessions_own_package_is_in_the_container(records: Records) -> None:
    placed = {file.target: file for file in planned(records).files}
    package = Path(guix_session.__file__).parent
    for name in ("__main__.py", "start.py", "git.config", "labextensions/guix-session/static/remoteEntry.js"):
        assert placed[f"{layout.PYTHON}/guix_session/{name}"].content == (package / name).read_bytes()
    assert not [target for target in placed if "__pycache__" in target]
    assert not [file for file in placed.values() if file.mode & 0o222]


def test_both_sides_agree_where_things_are() -> None:
    assert (str(surroundings.FOLDER), surroundings.SERVER_SOCKET) == (layout.FOLDER, layout.SERVER_SOCKET)
    assert apps.LAUNCHER == layout.KERNEL_LAUNCHER


def test_an_address_to_show_first_is_handed_on(records: Records) -> None:
    assert planned(records, urlpath="lab").variables["GUIX_SESSION_URLPATH"] == "lab"


def test_shells_get_the_profiles_variables_word_for_word(records: Records) -> None:
    [lines] = [file.content.decode() for file in planned(records).files if file.target == layout.SHELL_VARIABLES]
    assert shlex.split(lines) == [
        *("unset", "JPY_API_TOKEN", "JUPYTERHUB_API_TOKEN", "JUPYTER_CONFIG_PATH", "JUPYTER_PATH"),
        *("export", 'GREETING=it\'s\na "test"'),
        *("export", f"GUIX_ENVIRONMENT={PROFILE}"),
        # Without the machine's folders, and the current one, that the shell which captured it had added.
        *("export", f"PATH={PROFILE}/bin:{SERVER}/bin"),
        *("export", f"SHELL={SERVER}/bin/bash"),
    ]


def test_memory_bounds_everything_that_is_kept_in_memory(records: Records) -> None:
    plan = planned(records, Limits(2**30, None))
    assert plan.shared_memory == 2**29
    assert set(plan.sharing) == {"/tmp", "/var/tmp"}
    sizes = {folder.target: folder.size for folder in plan.temporary_folders}
    assert sizes == {"/run/user/1000": 2**30 // 10}


def test_the_folder_of_an_address_is_where_a_session_opens(records: Records) -> None:
    version = replace(records.read_version(ENVIRONMENT, VERSION), subdirectory="notes/of may", notebook="")
    records.write_version(ENVIRONMENT, version)
    assert planned(records).variables["GUIX_PROJECT_OPEN"] == "notes/of%20may"


def test_a_path_to_open_is_quoted_for_the_address(records: Records) -> None:
    assert planned(records, path="notes/a b?#.ipynb").variables["GUIX_PROJECT_OPEN"] == "notes/a%20b%3F%23.ipynb"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://git.example/a/analysis.git", "analysis"),
        ("https://zenodo.org/records/3242074", "zenodo-3242074"),
        (f"https://archive.softwareheritage.org/browse/revision/{'ab' * 20}", "swh-abababababab"),
        # A working copy must never become somebody's configuration.
        ("https://git.example/a/.ssh", "ssh"),
        ("https://git.example/a/.bashrc.git", "bashrc"),
        ("https://git.example/a/..git", "repository"),
        ("https://git.example/a/~root", "root"),
        ("https://git.example/a/...", "repository"),
        ("https://git.example/a/" + "x" * 150, "x" * 100),
    ],
)
def test_the_working_copys_name_is_never_hidden(address: str, name: str) -> None:
    assert project_name(address) == name


def test_limits_are_only_ever_lowered(records: Records) -> None:
    records.write_environment(environment(memory=2**32, cpu=2.0))

    choice = choose(records, parse_options({"environment": ENVIRONMENT}), applicant("ada"))
    assert limits(choice, memory=None, cpu=None) == Limits(2**32, 2.0)
    assert limits(choice, memory=2**31, cpu=0.5) == Limits(2**31, 0.5)
    choice = choose(records, parse_options({"environment": ENVIRONMENT, "memory": "1G", "cpu": 64}), applicant("ada"))
    assert limits(choice, memory=2**31, cpu=4.0) == Limits(2**30, 2.0)


@pytest.mark.parametrize(
    ("visibility", "groups", "who", "may"),
    [
        (Visibility.PRIVATE, (), applicant("ada"), True),
        (Visibility.PRIVATE, (), applicant("bob"), False),
        (Visibility.PRIVATE, ("lab",), applicant("bob", "lab"), False),
        (Visibility.PRIVATE, (), applicant("bob", admin=True), True),
        (Visibility.GROUPS, ("lab",), applicant("bob", "lab", "other"), True),
        (Visibility.GROUPS, ("lab",), applicant("bob", "other"), False),
        (Visibility.EVERYONE, (), applicant("bob"), True),
    ],
)
def test_who_may_start_what(
    records: Records, visibility: Visibility, groups: tuple[str, ...], who: Applicant, may: bool
) -> None:
    records.write_environment(environment(visibility=visibility, groups=groups))
    options = parse_options({"environment": ENVIRONMENT})
    if may:
        assert choose(records, options, who).version.id == VERSION
    else:
        with pytest.raises(NotFound):
            choose(records, options, who)


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (applicant("bob"), True),
        (applicant("carol", "course"), True),
        (applicant("eve", "lab"), False),
        (applicant("course", "bob"), False),
    ],
)
def test_who_it_is_shared_with_by_name_finds_and_starts_it_also_where_it_is_private(
    records: Records, who: Applicant, may: bool
) -> None:
    records.write_environment(
        environment(visibility=Visibility.PRIVATE, groups=("lab",), users=("bob",), member_groups=("course",))
    )
    options = parse_options({"environment": ENVIRONMENT})
    assert [offer.shared_by for offer in offers_for(records, who)] == (["ada"] if may else [])
    if may:
        assert choose(records, options, who).version.id == VERSION
    else:
        with pytest.raises(NotFound):
            choose(records, options, who)


def test_what_is_not_shared_looks_as_if_it_were_not_there(records: Records) -> None:
    def refusal(environment: str) -> GuixSpawnerError:
        with pytest.raises(NotFound) as caught:
            choose(records, parse_options({"environment": environment}), applicant("bob"))
        return caught.value

    assert refusal(ENVIRONMENT).as_json() == refusal(EnvironmentId("ezzzzzzzzzzz")).as_json()


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("access", "said"),
    [
        (RepositoryAccess(), "Nobody has asked lately whether you may"),
        (RepositoryAccess(datetime.now(UTC) - 2 * HOUR), "Nobody has asked lately whether you may"),
        (RepositoryAccess(datetime.now(UTC) + 24 * HOUR), "Nobody has asked lately whether you may"),
        (RepositoryAccess(datetime.now(UTC), refused=True), "You can no longer read https://git.example/somebody/analysis."),
        (RepositoryAccess(refused=True), "You can no longer read"),
    ],
)
def test_a_private_repository_must_be_known_to_be_readable_still(
    records: Records, access: RepositoryAccess, said: str
) -> None:
    records.write_access(ENVIRONMENT, access)
    options = parse_options({"environment": ENVIRONMENT})
    with pytest.raises(RepositoryWithdrawn, match=said):
        choose(records, options, applicant("ada"), HOUR)
    with pytest.raises(RepositoryWithdrawn, match="ada"):  # whom rights at the hub help as little
        choose(records, options, applicant("root", admin=True), HOUR)
    with pytest.raises(NotFound):
        choose(records, options, applicant("eve"), HOUR)


def test_what_was_readable_an_hour_ago_starts_while_nobody_can_be_asked(records: Records) -> None:
    options = parse_options({"environment": ENVIRONMENT})
    records.write_access(ENVIRONMENT, RepositoryAccess(datetime.now(UTC) - HOUR))
    assert choose(records, options, applicant("ada"), 2 * HOUR).version.id == VERSION
    records.write_access(ENVIRONMENT, None)
    assert choose(records, options, applicant("ada"), 0 * HOUR).version.id == VERSION


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 2}', '{"schema": 1, "read": "2026", "refused": false}'])
def test_a_damaged_note_of_who_may_read_opens_nothing(records: Records, content: str) -> None:
    (records.environment_folder(ENVIRONMENT) / "access.json").write_text(content)
    with pytest.raises(RecordInvalid):
        choose(records, parse_options({"environment": ENVIRONMENT}), applicant("ada"))


def test_another_version_can_be_started(records: Records) -> None:
    asked = parse_options({"environment": ENVIRONMENT, "version": OLD_VERSION})
    assert choose(records, asked, applicant("ada")).version.id == OLD_VERSION
    with pytest.raises(NotFound, match="no such version"):
        choose(records, dataclasses.replace(asked, version=VersionId("vzzzzzzzzzzz")), applicant("ada"))
