"""The server profile, built by the real Guix, in the real container."""

import asyncio
import getpass
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from guix_build_service.server_layer.definitions import definitions_folder, locked_versions
from guix_build_service.server_layer.profile import ServerProfileSettings, ensure_server_profile
from guix_environment import process_identity
from guix_environment.container import ContainerPlan, Mount, Network, TemporaryFolder
from guix_environment.identifiers import VariableName
from guix_environment.process_identity import ProcessIdentity
from guix_environment.records import Records, ServerRecord
from tests.containers import ACCOUNT, started
from tests.ports import free_port

pytestmark = [pytest.mark.guix, pytest.mark.timeout(1800)]

TOKEN = "a-token-of-the-tests"
LARGEST_CLOSURE = 1024**3
"""Bytes; nbconvert's TeX Live alone would be more."""


@pytest.fixture(scope="module", params=["5", "6"])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProfileSettings]:
    folder = tmp_path_factory.mktemp("server")
    roots = Path("/var/guix/profiles/per-user") / getpass.getuser() / f"guix-build-service-tests-{os.getpid()}"
    yield ServerProfileSettings(
        definitions=definitions_folder(),
        series=request.param,
        records=folder / "records",
        roots=roots,
        logs=folder / "logs",
    )
    shutil.rmtree(roots)


@pytest.fixture(scope="module")
def record(settings: ServerProfileSettings) -> ServerRecord:
    return asyncio.run(ensure_server_profile(settings))


@pytest.fixture
def venv(record: ServerRecord) -> Path:
    """Return the virtual environment inside the server layer."""
    return Path(record.profile, "bin/jupyterhub-singleuser").resolve().parents[1]


def run(*command: str | Path, **environment: str) -> str:
    """Run COMMAND with nothing but ENVIRONMENT and return what it prints."""
    ended = subprocess.run(command, env=environment, text=True, capture_output=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_that_the_record_is_what_a_session_needs(settings: ServerProfileSettings, record: ServerRecord) -> None:
    assert Records(settings.records).read_server() == record
    assert record.profile in record.closure
    assert record.variables[VariableName("PATH")].split(":")[0] == f"{record.profile}/bin"
    assert ":." not in record.variables[VariableName("PATH")]
    for name in ("bash", "git", "tini", "ls", "less", "nano", "ps", "grep", "sed", "gawk", "find", "tar", "gzip"):
        assert os.access(f"{record.profile}/bin/{name}", os.X_OK), name


async def test_that_asking_again_costs_nothing(settings: ServerProfileSettings, record: ServerRecord) -> None:
    told: list[str] = []
    start = time.monotonic()
    assert await ensure_server_profile(settings, told.append) == record
    assert time.monotonic() - start < 1
    assert told == []


async def test_that_a_profile_that_is_no_longer_held_is_built_again(
    settings: ServerProfileSettings, record: ServerRecord
) -> None:
    (settings.roots / record.key / "profile").unlink()
    assert (await ensure_server_profile(settings)).profile == record.profile
    assert (settings.roots / record.key / "profile").resolve() == Path(record.profile)


@pytest.mark.parametrize(
    ("command", "package"),
    [("jupyterhub-singleuser", "jupyterhub"), ("jupyter-lab", "jupyterlab"), ("jupyter-server", "jupyter-server")],
)
def test_that_commands_run_without_any_environment(
    settings: ServerProfileSettings, record: ServerRecord, command: str, package: str
) -> None:
    version = run(f"{record.profile}/bin/{command}", "--version")
    assert version == locked_versions(settings.definitions, settings.series)[package] == record.versions[package]


def test_that_all_compiled_modules_can_be_imported(venv: Path) -> None:
    packages = next(venv.glob("lib/python3.*/site-packages"))
    names = {
        ".".join(path.relative_to(packages).with_name(path.name.partition(".")[0]).parts)
        for path in packages.rglob("*.so")
        if not path.parent.name.endswith(".libs")
    }
    assert {"_cffi_backend", "tornado.speedups", "rpds.rpds", "zmq.backend.cython._zmq"} <= names
    script = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    run(venv / "bin/python3", "-I", "-c", script, *sorted(names))


def test_that_an_executable_of_a_wheel_gets_guixs_loader(
    record: ServerRecord, venv: Path, installer: ModuleType, tmp_path: Path
) -> None:
    patchelf = Path(run("guix", "build", "patchelf", **os.environ)) / "bin/patchelf"
    program = tmp_path / "program"
    shutil.copy(f"{record.profile}/bin/tini", program)
    program.chmod(0o755)
    installer.patchelf(patchelf, "--set-interpreter", "/lib64/not-there", program)
    with pytest.raises(FileNotFoundError):
        run(program, "--version")
    python = (venv / "bin/python3").resolve().parents[1]
    installer.patch(program, patchelf, installer.loader(patchelf, python), tmp_path)
    assert "tini" in run(program, "--version")


def test_that_other_pythons_do_not_reach_it(record: ServerRecord, venv: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "lib/python3.11/site-packages"
    local = tmp_path / ".local/lib/python3.11/site-packages"
    for folder in (hostile, local):
        folder.mkdir(parents=True)
        for name in ("traitlets", "sitecustomize", "usercustomize"):
            (folder / f"{name}.py").write_text("raise SystemExit('the session reached the server')")
    environment = {
        "HOME": str(tmp_path),
        "PYTHONPATH": str(hostile),
        "PYTHONHOME": str(tmp_path),
        "PYTHONSTARTUP": str(hostile / "traitlets.py"),
        "GUIX_PYTHONPATH": str(hostile),
    }
    assert run(f"{record.profile}/bin/jupyterhub-singleuser", "--version", **environment)
    script = "import json, os, sys; print(json.dumps([sys.path, os.environ['GUIX_PYTHONPATH']]))"
    path, variable = json.loads(run(venv / "bin/python3", "-I", "-c", script, **environment))
    assert all(entry.startswith("/gnu/store/") for entry in path)
    # Terminals and kernels still get it.
    assert variable == str(hostile)


def test_that_the_profile_shows_no_python_of_its_own(record: ServerRecord) -> None:
    shown = {path.name for path in Path(record.profile, "bin").iterdir()}
    assert {"jupyterhub-singleuser", "jupyter-lab", "jupyter-server"} <= shown
    assert not {name for name in shown if name.startswith(("python", "pip"))}
    assert "jupyter" not in shown
    assert not Path(record.profile, "share/jupyter").exists()


def test_the_closure(record: ServerRecord) -> None:
    names = [path.name for path in record.closure]
    assert not [name for name in names if name.startswith(("texlive", "python-ipykernel"))]
    # The C++ run time that compiled wheels ask for.
    assert any(name.startswith("gcc-") and name.endswith("-lib") for name in names)
    size = sum(
        file.lstat().st_size
        for item in record.closure
        for file in (Path(item).rglob("*") if Path(item).is_dir() else [Path(item)])
        if not file.is_symlink()
    )
    print(f"closure: {len(names)} items, {size / 1024**2:.0f} MiB")
    assert size < LARGEST_CLOSURE


@pytest.mark.usefixtures("record")
def test_that_building_again_gives_the_same_bits(settings: ServerProfileSettings) -> None:
    expression = f"(@ (guixspawner packages server-layer) jupyter-server-layer-{settings.series})"
    command = ["guix", "build", f"--load-path={settings.definitions}", "--no-grafts", f"--expression={expression}"]
    for check in ([], ["--check"]):
        ended = subprocess.run([*command, *check], text=True, capture_output=True)
        assert ended.returncode == 0, ended.stderr


def test_that_another_processor_gets_wheels_of_its_own(settings: ServerProfileSettings) -> None:
    expression = f"(@ (guixspawner packages server-layer) jupyter-server-layer-{settings.series})"
    command = ("guix", "build", f"--load-path={settings.definitions}", "--no-grafts", f"--expression={expression}")
    derivation = run(*command, "--derivations", "--system=aarch64-linux", **os.environ)
    references = run("guix", "gc", "--references", derivation, **os.environ)
    assert "manylinux2014_aarch64" in references
    assert "x86_64.whl" not in references


@contextmanager
def served(record: ServerRecord, home: Path, **variables: str) -> Iterator[int]:
    """Run JupyterLab in a container that sees RECORD's closure and nothing else of the store; give its port."""
    port = free_port()
    command = (
        f"{record.profile}/bin/tini",
        "--",
        f"{record.profile}/bin/jupyter-lab",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
    )
    plan = ContainerPlan(
        store_items=record.closure,
        command=command,
        directory="/home/ada",
        variables={
            **{str(name): value for name, value in record.variables.items()},
            "HOME": "/home/ada",
            "LANG": "C.UTF-8",
            "JUPYTER_TOKEN": TOKEN,
            **variables,
        },
        host_name="test",
        network=Network.HOST,
        mounts=(Mount(str(home), "/home/ada", writable=True),),
        temporary_folders=(TemporaryFolder("/tmp", 0o1777),),
    )
    for folder in (home, *home.parents):
        if folder.stat().st_uid == os.geteuid() and folder not in {Path("/"), Path(tempfile.gettempdir())}:
            folder.chmod(0o755)
    os.chown(home, ACCOUNT.uid, ACCOUNT.gid)
    log = home.parent / "server.log"
    with log.open("wb") as output:
        first = asyncio.run(started(plan, output.fileno()))
    try:
        wait_until_it_answers(first, port, log)
        yield port
    finally:
        asyncio.run(process_identity.end(first))


def wait_until_it_answers(first: ProcessIdentity, port: int, log: Path) -> None:
    start = time.monotonic()
    while True:
        try:
            ask(port, "GET", "/api")
        except OSError:
            assert process_identity.is_running(first), log.read_text()
            assert time.monotonic() - start < 60, log.read_text()
            time.sleep(0.02)
        else:
            print(f"answered after {time.monotonic() - start:.2f} s")
            return


def ask(port: int, method: str, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers={"Authorization": f"token {TOKEN}"})
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    assert answer.status in {200, 201}, content
    return content


def page_configuration(page: str) -> dict[str, Any]:
    text = page.partition('<script id="jupyter-config-data" type="application/json">')[2].partition("</script>")[0]
    configuration: dict[str, Any] = json.loads(text)
    return configuration


def test_that_it_serves_jupyterlab_over_its_closure_alone(record: ServerRecord, tmp_path: Path) -> None:
    home = tmp_path / "home"
    kernels = home / "kernels/kernels/ada"
    kernels.mkdir(parents=True)
    specification = {"argv": ["/nowhere"], "display_name": "Ada", "language": "ada"}
    (kernels / "kernel.json").write_text(json.dumps(specification))
    with served(
        record, home, JUPYTER_PATH="/home/ada/kernels", SHELL=f"{record.profile}/bin/bash", GUIX_PYTHONPATH="/nowhere"
    ) as port:
        assert list(json.loads(ask(port, "GET", "/api/kernelspecs"))["kernelspecs"]) == ["ada"]
        configuration = page_configuration(ask(port, "GET", "/lab"))
        assert configuration["appVersion"] == record.versions["jupyterlab"]
        assert configuration["news"] == {"disabled": True}
        assert configuration["extensionManager"]["can_install"] is False
        assert "@jupyterlab/apputils-extension:announcements" in configuration["disabledExtensions"]
        assert json.loads(ask(port, "POST", "/api/terminals"))["name"] == "1"
        notification = json.loads(ask(port, "GET", "/lab/api/settings/@jupyterlab/apputils-extension:notification"))
        assert notification["schema"]["properties"]["fetchNews"]["default"] == "false"


def test_that_it_has_no_kernel_of_its_own(record: ServerRecord, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with served(record, home) as port:
        assert json.loads(ask(port, "GET", "/api/kernelspecs"))["kernelspecs"] == {}
