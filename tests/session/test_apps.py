"""Which apps a repository has, and which of them its environment can serve."""

import json
import subprocess
from pathlib import Path

import pytest

from guix_session.apps import App, find_apps, proxied


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    folder = tmp_path / "profile"
    for program in ("Rscript", "bokeh", "voila"):
        (folder / "bin" / program).parent.mkdir(parents=True, exist_ok=True)
        (folder / "bin" / program).touch()
    (folder / "site-library/shiny").mkdir(parents=True)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def names(apps: list[App]) -> list[str]:
    return [app.name for app in apps]


@pytest.mark.parametrize("files", [("app.R",), ("ui.R", "server.R")])
def test_shiny_is_served_over_a_socket(profile: Path, project: Path, files: tuple[str, ...]) -> None:
    for file in files:
        (project / file).touch()
    (app,) = find_apps(profile, project, "")
    assert app.name == "shiny"
    assert app.unix_socket
    assert app.command[0] == "/run/guix-environment/session/kernel.sh"
    assert str(project) in app.command
    assert f"{profile}/bin/Rscript" in app.command
    assert app.command[-1] == "{unix_socket}"
    assert not [word for word in app.command if "{port}" in word]


def test_an_app_needs_its_program(profile: Path, project: Path) -> None:
    (project / "app.R").touch()
    (profile / "site-library/shiny").rmdir()
    assert find_apps(profile, project, "") == []
    (project / "app.py").write_text("import bokeh\n")
    (profile / "bin/bokeh").unlink()
    assert find_apps(profile, project, "") == []


@pytest.mark.parametrize(
    ("source", "found"),
    [("import bokeh.io", True), ("  from bokeh import x", True), ("# bokeh", False), ("import bokehx", False)],
)
def test_a_python_program_is_an_app_when_it_imports_what_serves_it(
    profile: Path, project: Path, source: str, found: bool
) -> None:
    (project / "app.py").write_text(f"'''An app'''\n{source}\n")
    assert names(find_apps(profile, project, "")) == (["bokeh"] if found else [])


def test_a_notebook_that_opens_first_can_be_shown_by_voila(profile: Path, project: Path) -> None:
    (project / "index.ipynb").touch()
    (app,) = find_apps(profile, project, "index.ipynb")
    assert (app.name, app.keeps_prefix, app.command[-1]) == ("voila", True, "index.ipynb")
    assert find_apps(profile, project, "") == []
    assert find_apps(profile, project, "gone.ipynb") == []


def test_an_app_beside_what_opens_first_goes_first(profile: Path, project: Path) -> None:
    (project / "app.R").touch()
    (project / "dashboard").mkdir()
    (project / "dashboard/app.py").write_text("import bokeh\n")
    assert names(find_apps(profile, project, "dashboard")) == ["bokeh", "shiny"]
    assert names(find_apps(profile, project, "")) == ["shiny"]


def test_nothing_of_a_name_is_filled_in_or_run(profile: Path, tmp_path: Path) -> None:
    folder = tmp_path / "{port} $(touch x); '"
    folder.mkdir()
    (folder / "app.R").touch()
    (app,) = find_apps(profile, folder, "")
    filled = [word.format(port=1, unix_socket="/s", base_url="/") for word in app.command]
    assert str(folder) in filled


def test_what_the_proxy_is_told() -> None:
    told = proxied(App("shiny", "Shiny", ("x", "{unix_socket}"), unix_socket=True))
    assert told["command"] == ["x", "{unix_socket}"]
    assert told["unix_socket"] is True
    assert told["launcher_entry"] == {"enabled": True, "title": "Shiny"}


def test_what_cannot_be_read_is_no_app(profile: Path, project: Path) -> None:
    (project / "app.py").mkdir()
    (project / "main.py").symlink_to("nowhere")
    assert find_apps(profile, project, "gone/further") == []
    assert find_apps(profile, project / "gone", "") == []


def declare(project: Path, **said: object) -> None:
    (project / "guix-app.json").write_text(json.dumps(said))


def test_a_repository_says_how_its_app_is_started(profile: Path, project: Path) -> None:
    declare(project, title="Plumber", command=["Rscript", "serve.R", "--port={port}", "{x}", "{address}"])
    (project / "app.R").touch()
    app, other = find_apps(profile, project, "")
    assert (app.name, app.title, other.name) == ("app", "Plumber", "shiny")
    filled = [word.format(port=7, unix_socket="/s", base_url="/user/ada/") for word in app.command]
    assert filled[-5:] == [f"{profile}/bin/Rscript", "serve.R", "--port=7", "{x}", "/user/ada/app/"]
    assert app.keeps_prefix
    assert not app.unix_socket


def test_a_declared_app_may_listen_on_a_socket_and_be_a_program_of_the_repository(profile: Path, project: Path) -> None:
    (project / "serve.sh").touch()
    declare(project, command=["./serve.sh", "{socket}"])
    (app,) = find_apps(profile, project, "")
    assert (app.title, app.unix_socket, app.keeps_prefix) == ("App", True, False)
    assert app.command[-2:] == (f"{project}/serve.sh", "{unix_socket}")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "7", '"Rscript"', "{}", '{"command": "Rscript"}', '{"command": []}', '{"command": ["Rscript", 7]}'),
        *('{"command": ["absent"]}', '{"command": ["./absent"]}', '{"command": ["Rscript\\u0000"]}', '{"command": [""]}'),
        *('{"command": ["./"]}', "[" * 100_000, "\x00", '{"command": [null]}'),
    ],
)
def test_a_declaration_that_says_nothing_usable_is_none(profile: Path, project: Path, text: str) -> None:
    (project / "guix-app.json").write_text(text)
    assert find_apps(profile, project, "") == []


def test_a_title_is_text_of_some_length(profile: Path, project: Path) -> None:
    declare(project, title="a\n" * 200, command=["Rscript"])
    assert find_apps(profile, project, "")[0].title == "a" * 60
    declare(project, title=["x"], command=["Rscript"])
    assert find_apps(profile, project, "")[0].title == "App"


def test_rstudio_keeps_its_state_in_the_session(profile: Path, project: Path, tmp_path: Path) -> None:
    """A program in its place prints what it was told, and what it finds there."""
    server = profile / "bin/rserver"
    server.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nfor word; do case $word in *.conf) cat "${word#*=}";; esac; done\n')
    server.chmod(0o755)
    (app,) = find_apps(profile, project, "")
    command = [word.format(port=7, unix_socket="/s", base_url="/user/ada/") for word in app.command[1:]]
    variables = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "USER": "ada"}
    printed = subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout.splitlines()
    assert {"--www-port=7", "--www-root-path=/user/ada/rstudio/", "--auth-none=1", "--server-user=ada"} <= set(printed)
    assert printed[-2:] == ["provider=sqlite", f"directory={tmp_path}/rstudio"]
