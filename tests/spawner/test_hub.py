"""Sessions in a real hub: real containers, over what the real Guix built."""

import dataclasses
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from guix_environment.identifiers import StorePath, VersionId
from guix_environment.process_identity import identify, is_running
from guix_environment.records import Records, Visibility
from tests.spawner.built_records import built_records
from tests.spawner.conftest import ENVIRONMENT, VERSION, environment
from tests.spawner.memory import token_of
from tests.spawner.real_hub import TOKEN, RealHub, first_process, leases, running_hub, wait_for
from tests.spawner.visitor import Visitor

pytestmark = [pytest.mark.guix, pytest.mark.hub, pytest.mark.timeout(1800)]

GIVEN = {"environment": ENVIRONMENT}


@pytest.fixture(scope="module")
def records() -> Iterator[Path]:
    with built_records() as folder:
        yield folder


@pytest.fixture(scope="module")
def hub(records: Path) -> Iterator[RealHub]:
    with running_hub(records) as hub:
        yield hub


@pytest.fixture(scope="module")
def ada(hub: RealHub) -> str:
    """A person with a running server."""
    assert hub.spawn("ada", GIVEN)[0] == 201, hub.session_log("ada")
    return "ada"


def profile(hub: RealHub) -> str:
    return Records(hub.state / "records").read_version(ENVIRONMENT, VERSION).profile


async def test_the_kernel_is_the_environments_and_the_server_is_not_in_it(hub: RealHub, ada: str) -> None:
    assert await hub.run_code(ada, "import sys; print(sys.executable)") == f"{profile(hub)}/bin/python3"
    assert (await hub.run_code(ada, "import pandas; print(pandas.__file__)")).startswith("/gnu/store/")
    assert (await hub.run_code(ada, "import jupyterlab")).startswith("ModuleNotFoundError")
    assert (await hub.run_code(ada, "import jupyterhub")).startswith("ModuleNotFoundError")


async def test_kernels_and_terminals_get_nothing_of_the_servers_secrets(hub: RealHub, ada: str) -> None:
    variables = await hub.run_code(ada, "import os; print('\\n'.join(os.environ))")
    assert "JUPYTERHUB_USER" in variables.splitlines()
    assert not {"JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"} & set(variables.splitlines())
    assert "token:." in await hub.run_in_terminal(ada, 'echo "token:$JUPYTERHUB_API_TOKEN$JPY_API_TOKEN."')


async def test_the_r_kernel_plots(hub: RealHub, ada: str) -> None:
    assert "image/png" in await hub.run_code(ada, "plot(1:10)", kernel="ir")


async def test_a_terminal_has_the_profiles_programs_and_the_sessions_tools(hub: RealHub, ada: str) -> None:
    shown = await hub.run_in_terminal(ada, "command -v python3 git; echo $0; pwd")
    assert f"{profile(hub)}/bin/python3" in shown
    assert re.search(r"/gnu/store/\S+/bin/git", shown)


async def test_the_kernel_finds_the_sessions_tools_too(hub: RealHub, ada: str) -> None:
    assert "git version" in await hub.run_code(ada, "!git --version")


async def test_the_session_is_in_the_working_copy(hub: RealHub, ada: str) -> None:
    assert await hub.run_code(ada, "import os; print(os.getcwd())") == "/home/ada/analysis"
    status = json.loads(hub.request("GET", f"/user/{ada}/api/contents/analysis")[1])
    assert "index.ipynb" in {entry["name"] for entry in status["content"]}
    assert "default url from environment $JUPYTERHUB_DEFAULT_URL: /lab/tree/analysis/index.ipynb" in hub.session_log(ada)


async def test_the_container_is_closed(hub: RealHub, ada: str) -> None:
    async def run(code: str) -> str:
        return await hub.run_code(ada, code)

    assert await run("import os; print(os.getuid(), os.getpid() < 200)") == "1000 True"
    seen = (await run("import os; print(*os.listdir('/gnu/store'))")).split()
    read = Records(hub.state / "records")
    assert {f"/gnu/store/{name}" for name in seen} == {
        *read.read_server().closure,
        *read.read_version(ENVIRONMENT, VERSION).closure,
    }
    for path in ("/gnu/store/x", "/x", "/etc/x", "/run/guix-environment/version/x", "/usr/bin/x"):
        assert (await run(f"open({path!r}, 'w')")).startswith(("OSError", "PermissionError")), path
    assert (await run("import os; os.listdir('/var/guix')")).startswith("FileNotFoundError")
    assert (await run("import os; print(sorted(os.listdir('/home')))")) == "['ada']"
    # No namespaces of one's own within: CLONE_NEWUSER of ``linux/sched.h``.
    nested = "import ctypes; print(ctypes.CDLL(None).unshare(0x10000000))"
    assert await run(nested) == "-1"
    assert await run("print(open('/proc/1/cmdline').read().split(chr(0))[0].endswith('tini'))") == "True"
    assert await run("import socket; print(socket.gethostname())") == "analysis"
    assert await run("import pwd, os; print(pwd.getpwuid(os.getuid()).pw_name, os.path.expanduser('~'))") == "ada /home/ada"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees into a server")
def test_no_secret_is_in_arguments_environments_or_logs(hub: RealHub, ada: str) -> None:
    secret = token_of(first_process(hub, ada)).encode()
    for kind in ("cmdline", "environ"):
        for process in Path("/proc").glob(f"[0-9]*/{kind}"):
            try:
                assert secret not in process.read_bytes()
            except OSError:
                continue
    assert secret.decode() not in hub.log.read_text() + hub.session_log(ada)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives people numbers of their own")
def test_each_person_runs_under_a_number_of_their_own(hub: RealHub, ada: str) -> None:
    assert hub.spawn("bob", GIVEN)[0] == 201
    owners = [Path(f"/proc/{first_process(hub, user).pid}").stat().st_uid for user in (ada, "bob")]
    assert len({*owners, 0}) == 3
    assert [(hub.state / "homes" / user).stat().st_uid for user in (ada, "bob")] == owners
    hub.stop("bob")


def test_a_session_holds_what_it_uses_until_it_is_stopped(hub: RealHub, ada: str) -> None:
    assert hub.spawn(ada, GIVEN, "second")[0] == 201
    assert leases(hub) == [
        f"{ada}.{server}.{kind}" for server in ("default", "second") for kind in ("environment", "server")
    ]
    process = first_process(hub, ada, "second")
    hub.stop(ada, "second")
    assert not is_running(process)
    assert leases(hub) == [f"{ada}.default.{kind}" for kind in ("environment", "server")]


async def test_files_persist_from_one_session_to_the_next(hub: RealHub) -> None:
    assert hub.spawn("cyd", GIVEN)[0] == 201
    await hub.run_code("cyd", "open('/home/cyd/analysis/saved', 'w').write('mine')")
    hub.stop("cyd")
    assert hub.spawn("cyd", None)[0] == 201, "the last options are used again"
    assert await hub.run_code("cyd", "print(open('/home/cyd/analysis/saved').read())") == "mine"
    assert (hub.state / "sessions/cyd/default.log.1").exists()
    hub.stop("cyd")


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"environment": "../../etc"}, 400, "This is not an environment"),
        ({"environment": ENVIRONMENT, "cmd": ["sh"]}, 400, "has no option cmd"),
        ({"environment": ENVIRONMENT, "memory": True}, 400, "memory"),
        ({"environment": "ezzzzzzzzzzz"}, 404, "no such environment, or it is not shared with you"),
        ({"environment": ENVIRONMENT, "version": "vzzzzzzzzzzz"}, 404, "no such version"),
        ({"x": 1}, 400, "has no option x"),
    ],
)
def test_what_cannot_be_started_is_refused_in_words(hub: RealHub, options: object, status: int, message: str) -> None:
    answered, text = hub.spawn("dan", options)
    assert (answered, message in json.loads(text)["message"]) == (status, True), text
    assert not (hub.state / "homes" / "dan").exists()


def test_a_body_that_is_no_object_is_refused(hub: RealHub) -> None:
    assert hub.spawn("eve", ["environment", ENVIRONMENT])[0] == 400
    assert hub.spawn("eve", {"environment": "ezzzzzzzzzzz"})[0] == 404


def test_a_link_starts_nothing_and_chooses(hub: RealHub) -> None:
    fay = Visitor(hub, "fay")
    for query in (f"environment={ENVIRONMENT}", f"opt-environment={ENVIRONMENT}&opt-path=x.ipynb", "anything=1"):
        status, page = fay.open(f"/hub/spawn/fay?{query}")
        assert status == 200
        assert f'value="{ENVIRONMENT}" required checked' in page
        assert ('name="path" value="x.ipynb"' in page) == ("path" in query)
        assert "spawn-error-msg" not in page
    assert hub.model("fay") == {}
    assert "Failed to spawn single-user server with query" not in hub.log.read_text()


def test_the_form_starts_what_was_chosen_and_says_what_went_wrong(hub: RealHub) -> None:
    gus = Visitor(hub, "gus")
    status, page = gus.open("/hub/spawn/gus", {"environment": "ezzzzzzzzzzz"})
    assert status == 404
    assert "There is no such environment, or it is not shared with you." in page
    assert "HTTP" not in page.partition("spawn-error-msg")[2].partition("</p>")[0]
    gus.open("/hub/spawn/gus", {"environment": ENVIRONMENT, "path": "index.ipynb"})
    wait_for(lambda: hub.model("gus").get("ready"))
    hub.stop("gus")


@pytest.mark.parametrize("way", ["leaving the group", "no longer for the group"])
def test_from_whom_an_environment_was_withdrawn_is_told_so_and_keeps_their_files(hub: RealHub, way: str) -> None:
    records = Records(hub.state / "records")
    user = f"ivy-{way.split()[0]}"
    hub.request("POST", f"/hub/api/users/{user}")
    assert hub.request("POST", "/hub/api/groups/lab")[0] in {201, 409}
    assert hub.request("POST", "/hub/api/groups/lab/users", {"users": [user]})[0] == 200
    records.write_environment(environment(visibility=Visibility.GROUPS, groups=("lab",)))
    try:
        assert hub.spawn(user, GIVEN)[0] == 201, hub.session_log(user)
        hub.stop(user)
        if way == "leaving the group":
            assert hub.request("DELETE", "/hub/api/groups/lab/users", {"users": [user]})[0] == 200
        else:
            records.write_environment(environment(visibility=Visibility.PRIVATE))
        for options in (GIVEN, None):
            status, text = hub.spawn(user, options)
            assert status == 404, "the last options are no right to them either"
            assert "no such environment, or it is not shared with you" in json.loads(text)["message"]
        visitor = Visitor(hub, user)
        status, page = visitor.open(f"/hub/spawn/{user}?environment={ENVIRONMENT}")
        assert status == 200
        assert "An analysis" not in page
        assert "Add an environment" in page
        status, page = visitor.open(f"/hub/spawn/{user}", {"environment": ENVIRONMENT})
        assert status == 404
        assert "There is no such environment, or it is not shared with you." in page
        assert "HTTP" not in page.partition("spawn-error-msg")[2].partition("</p>")[0]
    finally:
        records.write_environment(environment(visibility=Visibility.EVERYONE))
    assert hub.model(user) == {}
    assert (hub.state / "homes" / user / "analysis" / "index.ipynb").exists()


def test_somebody_without_an_environment_is_led_to_where_one_is_added(hub: RealHub) -> None:
    records = Records(hub.state / "records")
    records.write_environment(environment(visibility=Visibility.PRIVATE))
    try:
        _, page = Visitor(hub, "hana").open("/hub/spawn")
    finally:
        records.write_environment(environment(visibility=Visibility.EVERYONE))
    assert "Add an environment" in page
    assert 'href="/services/guix/"' in page
    assert 'type="submit"' not in page.partition("spawn_form")[2].partition("</form>")[0]


@pytest.mark.parametrize("user", ["<'&\">", "ünal@example.org", "a" * 200])
def test_any_name_can_have_a_session(hub: RealHub, user: str) -> None:
    assert hub.spawn(quote(user, safe=""), GIVEN)[0] == 201
    hub.stop(quote(user, safe=""))


def test_a_start_tells_how_far_it_is(hub: RealHub) -> None:
    hub.request("POST", "/hub/api/users/gil")
    assert hub.request("POST", "/hub/api/users/gil/server", GIVEN)[0] in {201, 202}
    _, text = hub.request("GET", "/hub/api/users/gil/server/progress")
    assert '"ready": true' in text
    hub.stop("gil")


def test_a_session_that_dies_is_noticed_and_lets_go(hub: RealHub) -> None:
    assert hub.spawn("hal", GIVEN)[0] == 201
    os.kill(first_process(hub, "hal").pid, signal.SIGKILL)
    # Asking for a start makes the hub look.
    wait_for(lambda: hub.spawn("hal", GIVEN)[0] == 201, 60)
    hub.stop("hal")
    assert not [name for name in leases(hub) if name.startswith("hal.")]


async def test_sessions_outlive_the_hub_and_are_found_again(hub: RealHub) -> None:
    assert hub.spawn("ivy", GIVEN)[0] == 201
    process = first_process(hub, "ivy")
    hub.kill()
    assert identify(process.pid) == process
    hub.start()
    wait_for(lambda: hub.serves("ivy"))
    assert first_process(hub, "ivy") == process
    assert await hub.run_code("ivy", "print(6 * 7)") == "42"
    hub.end()
    assert is_running(process)
    hub.start()
    wait_for(lambda: hub.serves("ivy"))
    hub.stop("ivy")
    assert not is_running(process)
    assert not [name for name in leases(hub) if name.startswith("ivy.")]


def test_a_hub_killed_in_the_middle_of_a_start_leaves_one_session_after_all(hub: RealHub) -> None:
    hub.request("POST", "/hub/api/users/jan")
    threading.Thread(target=hub.request, args=("POST", "/hub/api/users/jan/server", GIVEN)).start()
    note = hub.state / "sessions" / "jan" / "default.json"
    wait_for(note.exists)
    hub.kill()
    lost = first_process(hub, "jan")
    hub.start()
    assert hub.spawn("jan", GIVEN)[0] == 201
    assert not is_running(lost)
    hub.stop("jan")


@pytest.mark.parametrize("moment", [0.05, 0.4, 1.0])
def test_a_start_that_is_given_up_leaves_nothing(hub: RealHub, moment: float) -> None:
    hub.request("POST", "/hub/api/users/jo")
    starting = threading.Thread(target=hub.request, args=("POST", "/hub/api/users/jo/server", GIVEN))
    starting.start()
    wait_for(lambda: hub.model("jo").get("pending") == "spawn")
    time.sleep(moment)
    note = hub.state / "sessions" / "jo" / "default.json"
    process = first_process(hub, "jo") if note.exists() else None
    assert hub.request("DELETE", "/hub/api/users/jo/server")[0] in {202, 204}
    starting.join()
    wait_for(lambda: not hub.model("jo"))
    assert process is None or not is_running(process)
    assert not note.exists()
    assert not [name for name in leases(hub) if name.startswith("jo.")]
    assert hub.spawn("jo", GIVEN)[0] == 201
    hub.stop("jo")


def test_a_part_that_was_collected_is_told_and_nothing_stays(hub: RealHub) -> None:
    read = Records(hub.state / "records")
    lost = StorePath("/gnu/store/" + "z" * 32 + "-lost")
    broken = dataclasses.replace(read.read_version(ENVIRONMENT, VERSION), id=VersionId("vlost0000000"), closure=(lost,))
    read.write_version(ENVIRONMENT, broken)
    status, text = hub.spawn("kay", {**GIVEN, "version": broken.id})
    assert status == 500
    assert "Its owner can build it again" in json.loads(text)["message"]
    assert not [name for name in leases(hub) if name.startswith("kay.")]


def test_no_server_layer_is_told(hub: RealHub) -> None:
    file = hub.state / "records" / "server.json"
    kept = file.read_bytes()
    file.unlink()
    try:
        status, text = hub.spawn("lea", GIVEN)
    finally:
        file.write_bytes(kept)
    assert status == 500
    assert "guix-build-service server-layer" in json.loads(text)["message"]


def test_a_server_that_ends_at_once_fails_the_start_at_once(records: Path) -> None:
    with running_hub(records, 'c.GuixSpawner.environment = {"JUPYTERHUB_SERVICE_URL": ""}') as hub:
        status, text = hub.spawn("mia", GIVEN)
        assert status == 500
        assert "ended while it started" in json.loads(text)["message"]
        assert "Missing required environment" in hub.log.read_text(), "the session's last lines are in the hub's log"
        assert "Traceback" not in json.loads(text)["message"]
        assert leases(hub) == []
        assert TOKEN not in hub.session_log("mia")


SLOW_CONTAINER = """
import asyncio

from guix_environment.launching import Waiting

run = Waiting.run


async def slowly(*arguments):
    await asyncio.sleep(5)
    await run(*arguments)


Waiting.run = slowly
c.GuixSpawner.start_timeout = 1
"""


def test_a_start_that_takes_too_long_leaves_nothing(records: Path) -> None:
    with running_hub(records, SLOW_CONTAINER) as hub:
        assert hub.spawn("nia", GIVEN)[0] == 500
        assert leases(hub) == []
        assert not list(hub.state.glob("sessions/nia/*.json"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs sessions under other numbers")
def test_a_closed_folder_is_told(records: Path) -> None:
    with running_hub(records) as hub:
        (hub.state / "homes").chmod(0o700)
        status, text = hub.spawn("quin", GIVEN)
        assert (status, "closed to its sessions" in json.loads(text)["message"]) == (500, True)
        assert f"{hub.state}/homes lacks the permission" in hub.log.read_text()


WITHOUT_SECCOMP = """
import ctypes

from guix_environment import system_call_filter


def lacking(name, **keywords):
    raise OSError(f"{name}: cannot open shared object file")


system_call_filter.ctypes.CDLL = lacking
"""


def test_what_the_machine_lacks_is_told(records: Path) -> None:
    with running_hub(records, WITHOUT_SECCOMP) as hub:
        status, text = hub.spawn("pia", GIVEN)
    assert (status, "apt-get install libseccomp2" in json.loads(text)["message"]) == (500, True)
