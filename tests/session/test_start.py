"""What a session does before its server runs, and what the server is told."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from guix_session import start
from guix_session.processes import Answer
from guix_session.relays import Relay
from guix_session.settings import default_address, server_settings
from guix_session.surroundings import Project, Session, leave_out

CHECKOUT = Path(__file__).parents[2]
VARIABLES = {
    "HOME": "/home/ada",
    "GUIX_SESSION_TOOLS": "/tools",
    "GUIX_SESSION_LIMITS": json.dumps({"memory": 2**31, "cpu": 1.5, "enforced_by": "cgroup-v2", "network": "all"}),
    "GUIX_SESSION_RELAYS": json.dumps([[8081, "/run/guix-environment/gateway/hub.sock"]]),
    "GUIX_SESSION_MEMORY_EVENTS": "/run/guix-environment/memory.events",
    "GUIX_SESSION_IDLE_SECONDS": "3600",
    "GUIX_SESSION_MAXIMAL_AGE": "86400",
    "GUIX_SESSION_STARTED": "1000",
    "GUIX_SESSION_ENVIRONMENT": "Analysis",
    "GUIX_PROJECT_COMMIT": "c0ffee",
    "GUIX_PROJECT_OPEN": "notes/a%20b.ipynb",
}


def test_what_the_spawner_says_is_understood() -> None:
    session = Session.read(VARIABLES)
    assert session.relays == (Relay(8081, "/run/guix-environment/gateway/hub.sock"),)
    assert (session.started, session.idle_seconds, session.ends) == (1000.0, 3600.0, 87400.0)
    assert session.limits["memory"] == 2**31
    assert (session.environment, session.project.commit, session.project.opens) == (
        "Analysis",
        "c0ffee",
        "notes/a%20b.ipynb",
    )


def test_all_of_it_may_be_absent() -> None:
    session = Session.read({}, now=7.0)
    assert session == Session(started=7.0)
    assert session.ends is None


def test_programs_of_the_session_do_not_see_it() -> None:
    variables = dict(VARIABLES)
    leave_out(variables)
    assert variables == {"HOME": "/home/ada", "GUIX_SESSION_TOOLS": "/tools"}


def test_what_prepares_the_working_copy_has_no_secrets() -> None:
    hub = {
        "JUPYTERHUB_API_TOKEN": "secret",
        "JPY_API_TOKEN": "secret",
        "PATH": os.environ["PATH"],
        "GUIX_PROJECT_REF": "main",
    }
    printed = Answer(["env"], start.without_secrets(hub)).wait().decode()
    assert "secret" not in printed
    assert "GUIX_PROJECT_REF=main" in printed


def test_the_folder_of_keys_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "run/jupyter"
    previous = os.umask(0)
    try:
        start.prepare_runtime_folder({"JUPYTER_RUNTIME_DIR": str(folder)})
    finally:
        os.umask(previous)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_server_works_in_the_working_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "analysis").mkdir()
    start.enter(tmp_path, "analysis")
    assert Path.cwd() == tmp_path / "analysis"
    start.enter(tmp_path, "gone")
    assert Path.cwd() == tmp_path


def test_what_was_found_in_the_home_is_taken_over() -> None:
    given = Project(source="/somewhere")
    assert start.prepared(given, "analysis\0one\ntwo\0old one") == Project(
        source="/somewhere", folder="analysis", taken=("one", "two"), others=("old one",)
    )
    assert start.prepared(given, "") == given


@pytest.mark.parametrize(
    ("project", "urlpath", "address"),
    [
        (Project(folder="analysis", opens="index.ipynb"), "", "/lab/tree/analysis/index.ipynb"),
        (Project(folder="analysis"), "", "/lab/tree/analysis"),
        (Project(opens="x"), "", "/lab"),
        (Project(folder="analysis", opens="index.ipynb"), "shiny/", "/shiny/"),
        (Project(folder="analysis"), "app", "/lab/tree/analysis"),
    ],
)
def test_what_is_shown_first(project: Project, urlpath: str, address: str) -> None:
    assert default_address(Session(0.0, project=project, urlpath=urlpath)) == address


def test_the_repositorys_app_is_shown_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "profile/bin").mkdir(parents=True)
    (tmp_path / "profile/bin/bokeh").touch()
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis/app.py").write_text("from bokeh.plotting import figure\n")
    session = Session(0.0, project=Project(folder="analysis"), profile=str(tmp_path / "profile"), urlpath="app")
    assert default_address(session) == "/bokeh/"
    settings = server_settings(session)
    assert list(settings["ServerProxy"]["servers"]) == ["bokeh"]  # type: ignore[index]
    assert default_address(replace(session, profile="")) == "/lab/tree/analysis"


def test_that_nothing_of_a_start_waits_for_the_working_copy(tmp_path: Path) -> None:
    """The script ends although there is nothing to copy from, and says so where the session's log is."""
    script = CHECKOUT / "guixspawner/session/project.sh"
    words = [
        sys.executable,
        "-c",
        "from guix_session.processes import Answer; import os, sys; print(Answer(sys.argv[1:], dict(os.environ)).wait())",
    ]
    ended = subprocess.run(
        [*words, "bash", "-c", f'. {script}; printf %s "$project"'],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "GUIX_PROJECT_SOURCE": "/nowhere"},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "b''\n"
    assert "no copy of its repository" in ended.stderr
