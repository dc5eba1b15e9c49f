"""What everything above relies on, tried on the real Guix: this folder's with its stand-ins, or a machine's own."""

import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.guix

PACKAGES = ["python", "python-pandas", "python-matplotlib", "python-ipykernel", "r-minimal", "r-irkernel", "r-ggplot2"]
PACKAGES += ["git-minimal", "nss-certs", "bash", "coreutils", "tini", "nano", "less", "file", "which", "procps", "ncurses"]


def guix(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(["guix", *arguments], capture_output=True, text=True, timeout=600)
    assert not check or result.returncode == 0, result.stderr[-4000:]
    return result


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profile")
    manifest = folder / "manifest.scm"
    manifest.write_text(f"(specifications->manifest '({' '.join(json.dumps(name) for name in PACKAGES)}))")
    guix("package", "-p", str(folder / "profile"), "-m", str(manifest))
    return folder / "profile"


def closure(profile: Path) -> list[str]:
    return guix("gc", "--requisites", str(profile.resolve())).stdout.split()


class Inside:
    """Runs commands in a container of the profile's closure, with nothing of the host's programs."""

    def __init__(self, profile: Path, home: Path) -> None:
        self.profile, self.home, self.items = profile.resolve(), home, closure(profile)

    def __call__(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        binds = [word for item in self.items for word in ("--ro-bind", item, item)]
        environment = {"GUIX_PROFILE": str(self.profile), "HOME": str(self.home), "LANG": "C.UTF-8", **variables}
        settings = [word for name, value in environment.items() for word in ("--setenv", name, value)]
        shell = f"{self.profile}/bin/bash"
        line = ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--clearenv", "--die-with-parent", *binds]
        line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--symlink", f"{self.profile}/bin/sh", "/bin/sh"]
        line += ["--bind", str(self.home), str(self.home), "--chdir", str(self.home), *settings]
        line += [shell, "-c", '. "$GUIX_PROFILE/etc/profile"; exec "$@"', "sh", *command]
        return subprocess.run(line, capture_output=True, text=True, timeout=300)


@pytest.fixture
def inside(profile: Path, tmp_path: Path) -> Inside:
    return Inside(profile, tmp_path)


def output(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


def test_pandas_comes_from_the_profile_and_plots(inside: Inside) -> None:
    code = (
        "import sys, pandas, matplotlib; matplotlib.use('Agg'); pandas.Series([1, 3, 2]).plot().figure.savefig('plot.png')"
    )
    output(inside("python3", "-c", code))
    assert (inside.home / "plot.png").read_bytes().startswith(b"\x89PNG")
    place = output(inside("python3", "-c", "import pandas; print(pandas.__file__)"))
    assert place.startswith(str(inside.profile))


def test_pythons_modules_are_compiled(inside: Inside) -> None:
    code = "import pandas, json, os; print([os.path.exists(m.__cached__) for m in (pandas, json)])"
    assert output(inside("python3", "-c", code)).strip() == "[True, True]"


def test_a_virtual_environment_ignores_the_profiles_packages(inside: Inside) -> None:
    output(inside("python3", "-m", "venv", "--without-pip", "own"))
    result = inside("own/bin/python3", "-c", "import pandas")
    assert "ModuleNotFoundError" in result.stderr


def test_r_plots_to_files(inside: Inside) -> None:
    code = (
        "library(ggplot2); p <- ggplot(mtcars, aes(wt, mpg)) + geom_point() + ggtitle('Weight');"
        "ggsave('plot.svg', p); png('plot.png'); print(p); invisible(dev.off())"
    )
    output(inside("Rscript", "-e", code))
    assert (inside.home / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert "Weight" in (inside.home / "plot.svg").read_text()


def test_r_finds_packages_in_the_profile(inside: Inside) -> None:
    assert str(inside.profile) in output(inside("Rscript", "-e", "cat(find.package('ggplot2'))"))


KERNEL = """
import sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name=sys.argv[1], startup_timeout=60)
client.execute_interactive(sys.argv[2], timeout=60, output_hook=lambda m: print(m["msg_type"], m["content"]))
client.stop_channels()
manager.shutdown_kernel(now=True)
"""


@pytest.mark.parametrize(
    ("kernel", "code", "shown"),
    [("python3", "import pandas; print(len(pandas.Series([1, 2])), 'rows')", "2 rows"), ("ir", "plot(1:3)", "image/png")],
)
def test_kernels_start_and_answer(inside: Inside, kernel: str, code: str, shown: str) -> None:
    assert shown in output(inside("python3", "-c", KERNEL, kernel, code))


@pytest.fixture
def git_server(inside: Inside) -> Iterator[str]:
    work = inside.home / "work"
    author = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@b"}
    output(inside("git", "init", "--quiet", str(work)))
    (work / "text").write_text("content")
    for command in (["add", "."], ["commit", "--quiet", "-m", "one"], ["update-server-info"]):
        output(inside("git", "-C", str(work), *command, **author))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(work))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/.git"
        server.shutdown()


def test_git_clones_over_http_without_the_hosts_programs(inside: Inside, git_server: str) -> None:
    output(inside("git", "clone", "--quiet", git_server, "copy", no_proxy="127.0.0.1"))
    assert (inside.home / "copy/text").read_text() == "content"


def test_terminals_speak_utf_8_and_know_their_terminal(inside: Inside) -> None:
    (inside.home / "é").write_text("")
    assert output(inside("ls")).split() == ["é"]
    assert output(inside("bash", "-c", "x=é; echo ${#x}")).strip() == "1"
    assert output(inside("tput", "cols", TERM="xterm-256color")).strip().isdigit()


def test_a_profiles_variables_hold_nothing_else(profile: Path) -> None:
    place = str(profile.resolve())
    command = f". {place}/etc/profile; exec {place}/bin/env"
    result = subprocess.run(
        [f"{place}/bin/bash", "--norc", "-c", command], capture_output=True, text=True, env={"GUIX_PROFILE": place}
    )
    names = {line.partition("=")[0] for line in output(result).splitlines()}
    assert {"GUIX_PYTHONPATH", "R_LIBS_SITE", "JUPYTER_PATH", "GIT_SSL_CAINFO"} <= names
    assert not {name for name in names if name.startswith(("LOCPATH", "STANDIN", "LD_"))}


def test_packages_that_conflict_are_refused(tmp_path: Path) -> None:
    result = guix("package", "-p", str(tmp_path / "profile"), "-i", "python-numpy", "python-pandas", check=False)
    assert result.returncode != 0
    assert "profile contains conflicting entries for python-numpy" in result.stderr
    assert not (tmp_path / "profile").exists()


def test_an_unknown_package_is_refused(tmp_path: Path) -> None:
    result = guix("package", "-p", str(tmp_path / "profile"), "-i", "no-such-package-at-all", check=False)
    assert result.returncode != 0
    assert "unknown package" in result.stderr


def test_guix_runs_a_container_of_its_own(profile: Path) -> None:
    code = "import sys, pandas; print(pandas.__file__); print(sys.version_info.minor)"
    result = guix("shell", "--container", "-p", str(profile), "--", "python3", "-c", code)
    assert result.stdout.startswith(str(profile.resolve()))


def test_sizes_and_revision_can_be_asked_for(profile: Path) -> None:
    assert str(profile.resolve()) in guix("size", str(profile.resolve())).stdout
    assert "guix" in guix("describe").stdout.lower() or guix("describe", "--format=channels").stdout


def test_the_collector_takes_only_what_nobody_holds(profile: Path, tmp_path: Path) -> None:
    item = guix("repl", "--", str(_add_text(tmp_path))).stdout.strip()
    assert Path(item).exists()
    held = guix("gc", "--delete", str(profile.resolve()), check=False)
    assert held.returncode != 0
    guix("gc", "--delete", item)
    assert not Path(item).exists()
    assert (profile / "bin/python3").exists()


def _add_text(folder: Path) -> Path:
    script = folder / "add.scm"
    script.write_text(
        f'(use-modules (guix)) (with-store s (display (add-text-to-store s "text" "{time.time_ns()}" (list))))'
    )
    return script


def test_a_build_that_fails_says_where_its_log_is(tmp_path: Path) -> None:
    file = tmp_path / "failing.scm"
    file.write_text(
        '(use-modules (guix gexp)) (computed-file "failing" #~(begin (display "the reason\\n") (mkdir #$output) (exit 3)))'
    )
    result = guix("build", "-f", str(file), check=False)
    assert result.returncode != 0
    log = Path(result.stderr.split("View build log at '")[1].split("'")[0])
    assert "the reason" in subprocess.run(["zcat", str(log)], capture_output=True, text=True).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_another_account_builds_as_well() -> None:
    account = "guix-build-service" if shutil.which("guix") == "/.guix/bin/guix" else "nobody"
    line = ["setpriv", f"--reuid={account}", "--regid=65534", "--clear-groups", "env", "HOME=/tmp", "guix", "build", "sed"]
    result = subprocess.run(line, capture_output=True, text=True, cwd="/tmp", timeout=300)
    assert output(result).startswith("/gnu/store/")
