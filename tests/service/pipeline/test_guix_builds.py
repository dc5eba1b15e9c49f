"""Builds with the real Guix: what becomes ready, and what people are told when nothing does."""

import json
import subprocess
from pathlib import Path

import pytest

from guix_build_service.manifest.channels import read_channels
from guix_build_service.model.environments import Build, BuildChanged, BuildState, NewEnvironment
from guix_build_service.pipeline.job import MARK
from guix_environment.identifiers import VariableName
from guix_environment.session_layout import KERNEL_LAUNCHER
from tests.git_server import GitServer
from tests.marked_processes import marked_with
from tests.postgresql import PostgreSQL
from tests.service.installation import ADA, ADMIN, BOB, Installation, installation

pytestmark = [pytest.mark.guix, pytest.mark.timeout(900)]

PYTHON = '(specifications->manifest (list "python" "python-pandas"))\n'


async def test_a_repository_becomes_an_environment_that_sessions_can_start_from(
    service: Installation, git_server: GitServer, tmp_path: Path
) -> None:
    commit = git_server.commit("demo", {"manifest.scm": PYTHON, "index.ipynb": "{}", "data.csv": "a,b\n"})
    asked = await service.manager.add_environment(NewEnvironment(git_server.url("demo"), name="A demo"), ADA)
    assert not asked.state.is_final
    build = await service.finished(asked)
    assert build.state is BuildState.READY, build.error
    detail = await service.manager.environment(asked.environment.id, ADA)
    assert detail.version is not None
    assert detail.environment.current == detail.version.id
    assert detail.version.packages == ("python", "python-pandas", "python-ipykernel")

    record = service.records.read_environment(asked.environment.id)
    assert record.name == "A demo"
    version = service.records.read_version(record.id, record.current)
    assert version.commit == commit
    assert version.ref == "main"
    assert version.notebook == "index.ipynb"
    assert version.profile in version.closure
    assert version.size > 1_000_000
    assert version.variables[VariableName("GUIX_PYTHONPATH")] == f"{version.profile}/lib/python3.11/site-packages"
    assert service.roots.held() == {detail.version.key: version.profile}

    kernel = json.loads((service.records.kernels(record.id, record.current) / "python3/kernel.json").read_text())
    assert kernel["argv"][:2] == [KERNEL_LAUNCHER, f"{version.profile}/bin/python3"]
    assert kernel["env"]["GUIX_PYTHONPATH"] == version.variables[VariableName("GUIX_PYTHONPATH")]
    # The kernel that was written down really starts, with these variables alone.
    script = "import sys, pandas, ipykernel; print(sys.executable, pandas.__file__)"
    said = subprocess.run([kernel["argv"][1], "-c", script], env=kernel["env"], check=True, capture_output=True, text=True)
    assert said.stdout.split()[0] == kernel["argv"][1]

    branches = ["git", f"--git-dir={service.records.repository(record.id)}", "show-ref"]
    shown = subprocess.run(branches, check=True, capture_output=True, text=True).stdout
    assert f"{commit} refs/heads/main" in shown
    assert f"{commit} refs/versions/{commit}" in shown
    copy = tmp_path / "copy"
    subprocess.run(["git", "clone", "--quiet", str(service.records.repository(record.id)), str(copy)], check=True)
    assert sorted(path.name for path in copy.iterdir()) == [".git", "data.csv", "index.ipynb", "manifest.scm"]
    text = await service.log(build.id)
    assert "manifest.scm names python, python-pandas, and for the notebooks' kernels python-ipykernel." in text
    assert "\x1b" not in text
    assert "\r" not in text
    assert not list((service.folder / "builds").iterdir())

    # What is exported says what was built, in files that Guix itself reads.
    export = await service.manager.export(record.id, record.current, ADA)
    assert '"python-pandas"' in export.manifest
    assert read_channels(export.channels).channels[0].name == "guix"
    for name, exported in (("manifest.scm", export.manifest), ("channels.scm", export.channels)):
        (tmp_path / name).write_text(exported)
    shell = ["guix", "shell", "--pure", "--dry-run", "-m", "manifest.scm"]
    subprocess.run(shell, cwd=tmp_path, check=True, capture_output=True)
    load = ["guix", "repl", "--", "/dev/stdin"]
    script = '(use-modules (guix channels) (guix ui)) (load* "channels.scm" (make-user-module (quote ((guix channels)))))'
    subprocess.run(load, cwd=tmp_path, check=True, input=script.encode(), capture_output=True)

    # The same again is the same environment, at once; another person's builds nothing.
    again = await service.manager.add_environment(NewEnvironment(git_server.url("demo")), ADA)
    assert again.environment.id == asked.environment.id
    assert again.state is BuildState.READY
    other = await service.manager.add_environment(NewEnvironment(git_server.url("demo")), BOB)
    assert other.environment.id != asked.environment.id
    build = await service.finished(other)
    assert build.state is BuildState.READY
    assert "A profile of exactly these packages is there already." in await service.log(build.id)

    # Deleting one leaves the other what it needs; deleting both leaves nothing.
    await service.manager.delete_environment(asked.environment.id, ADA)
    assert not service.records.environment_folder(asked.environment.id).exists()
    assert list(service.roots.held().values()) == [version.profile]
    await service.manager.delete_environment(other.environment.id, BOB)
    assert service.roots.held() == {}
    assert not list((service.folder / "profiles").iterdir())


@pytest.mark.parametrize(
    ("manifest", "code", "told"),
    [
        (
            '(specifications->manifest (list "python" "python-panda" "numpy" "git:no-such-output"))',
            "packages-unknown",
            ["python-panda (perhaps python-pandas", "numpy (perhaps python-numpy", "git:no-such-output (there is output"],
        ),
        (
            '(specifications->manifest (list "python" "python-numpy" "python-pandas"))',
            "packages-conflict",
            ["python-numpy 2.", "python-numpy 1.26.4", "which the manifest names", "which python-pandas needs"],
        ),
        ('(specifications->manifest\n  (list "python"', "manifest-unreadable", ["manifest.scm", "line 2, column 3"]),
    ],
)
async def test_a_manifest_that_cannot_be_built_is_explained_and_leaves_nothing(
    service: Installation, git_server: GitServer, manifest: str, code: str, told: list[str]
) -> None:
    git_server.commit("bad", {"manifest.scm": manifest})
    asked = await service.manager.add_environment(NewEnvironment(git_server.url("bad")), ADA)
    build = await service.finished(asked)
    assert build.state is BuildState.FAILED
    assert build.error is not None
    assert build.error["code"] == code
    assert build.error["hint"]
    for words in told:
        assert words in str(build.error["message"])
    assert str(build.error["message"]) in await service.log(build.id)
    assert service.roots.held() == {}
    assert not service.records.environment_folder(asked.environment.id).exists()
    assert not list((service.folder / "builds").iterdir())


async def built(service: Installation, git_server: GitServer, *packages: str) -> Build:
    """Return how the build of a repository ended whose manifest now names PACKAGES."""
    names = " ".join(f'"{package}"' for package in packages)
    git_server.commit("demo", {"manifest.scm": f"(specifications->manifest (list {names}))"})
    return await service.finished(await service.manager.add_environment(NewEnvironment(git_server.url("demo")), ADA))


async def test_what_to_write_instead_of_packages_that_conflict_builds(service: Installation, git_server: GitServer) -> None:
    build = await built(service, git_server, "python", "python-numpy", "python-pandas")
    assert build.error is not None
    assert 'Remove "python-numpy" from the manifest' in str(build.error["hint"])
    build = await built(service, git_server, "python", "python-pandas")
    assert build.state is BuildState.READY


async def test_a_build_that_fails_says_which_package_and_why(service: Installation, git_server: GitServer) -> None:
    git_server.commit("hello", {"manifest.scm": '(specifications->manifest (list "hello"))'})
    asked = await service.manager.add_environment(NewEnvironment(git_server.url("hello")), ADA)
    build = await service.finished(asked)
    if build.state is BuildState.READY:
        pytest.skip("this Guix gets `hello` from its substitute servers")
    assert build.error is not None
    assert build.error["code"] == "build-failed"
    assert "hello cannot be built: it needs " in str(build.error["message"])
    assert "which could not be downloaded" in str(build.error["message"])
    assert "later" in str(build.error["hint"])
    assert service.roots.held() == {}
    assert not (service.folder / "profiles").exists()
    assert not service.records.environment_folder(asked.environment.id).exists()


async def test_a_kernel_that_we_add_and_that_conflicts_is_named(service: Installation, git_server: GitServer) -> None:
    build = await built(service, git_server, "python", "python-numpy")
    assert build.error is not None
    assert build.error["code"] == "packages-conflict"
    assert "python-ipykernel was added for the notebooks' kernel" in str(build.error["hint"])
    build = await built(service, git_server, "python", "python-numpy@1.26.4")
    assert build.state is BuildState.READY


async def test_r_gets_its_kernel(service: Installation, git_server: GitServer) -> None:
    git_server.commit("plots", {"manifest.scm": '(specifications->manifest (list "r-minimal" "r-ggplot2"))'})
    asked = await service.manager.add_environment(NewEnvironment(git_server.url("plots")), ADA)
    build = await service.finished(asked)
    assert build.state is BuildState.READY, build.error
    record = service.records.read_environment(asked.environment.id)
    version = service.records.read_version(record.id, record.current)
    assert [(kernel.name, kernel.language) for kernel in version.kernels] == [("ir", "R")]
    kernel = json.loads((service.records.kernels(record.id, record.current) / "ir/kernel.json").read_text())
    assert kernel["argv"][:2] == [KERNEL_LAUNCHER, f"{version.profile}/bin/R"]
    script = 'library(IRkernel); library(ggplot2); cat(find.package("ggplot2"))'
    command = [kernel["argv"][1], "--slave", "-e", script]
    environment = {**kernel["env"], "PATH": f"{version.profile}/bin:/usr/bin:/bin"}
    said = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    # R says where the links of the profile lead.
    assert "/".join(said.stdout.split("/")[:4]) in version.closure


async def test_the_collector_sees_the_root_and_a_cancelled_build_leaves_nothing(
    service: Installation, git_server: GitServer
) -> None:
    git_server.commit("demo", {"manifest.scm": PYTHON})
    asked = await service.manager.add_environment(NewEnvironment(git_server.url("demo")), ADA)
    assert asked.build is not None
    async for event in service.manager.follow(asked.build.id, ADA):
        if isinstance(event, BuildChanged) and event.build.state is BuildState.BUILDING:
            break
    assert (await service.manager.cancel(asked.build.id, ADA)).state is BuildState.CANCELLED
    assert marked_with(MARK, str(asked.build.id)) == []
    assert service.roots.held() == {}
    assert not service.records.environment_folder(asked.environment.id).exists()
    build = await service.finished(await service.manager.start_build(asked.environment.id, ADA))
    assert build.state is BuildState.READY
    [(key, profile)] = service.roots.held().items()
    roots = subprocess.run(["guix", "gc", "--list-roots"], check=True, capture_output=True, text=True).stdout
    assert any(str(service.roots.folder / key) in line or profile in line for line in roots.splitlines())
    deleting = subprocess.run(["guix", "gc", "--delete", profile], check=False, capture_output=True, text=True)
    assert deleting.returncode != 0
    assert Path(profile, "etc/profile").exists()


async def test_guix_that_needs_too_much_memory_is_ended_and_the_service_lives_on(
    git_server: GitServer, tmp_path: Path
) -> None:
    git_server.commit("demo", {"manifest.scm": PYTHON})
    async with installation(tmp_path / "service", git_server.host, memory=64 * 1024**2) as service:
        asked = await service.manager.add_environment(NewEnvironment(git_server.url("demo")), ADA)
        build = await service.finished(asked)
        assert build.state is BuildState.FAILED
        assert build.error is not None
        assert build.error["code"] == "build-memory"
        assert "build_memory" in str(build.error["hint"])
        assert marked_with(MARK, str(build.id)) == []
        assert service.roots.held() == {}
        assert (await service.manager.health()).status == "ok"


async def test_two_services_on_one_postgresql_make_one_build_of_what_both_are_asked_for(
    git_server: GitServer, postgresql: PostgreSQL, guix_profiles: Path, tmp_path: Path
) -> None:
    git_server.commit("demo", {"manifest.scm": '(specifications->manifest (list "sed"))\n'})
    folder, database, roots = tmp_path / "service", postgresql.current(), guix_profiles / "environments"
    async with (
        installation(folder, git_server.host, roots=roots, database=database) as one,
        installation(folder, git_server.host, roots=roots, database=database) as two,
    ):
        wanted = NewEnvironment(git_server.url("demo"))
        asked = [await one.manager.add_environment(wanted, ADA), await two.manager.add_environment(wanted, BOB)]
        builds = [await service.finished(each) for service, each in zip((one, two), asked, strict=True)]
        assert builds[0].id == builds[1].id
        assert builds[0].state is BuildState.READY, builds[0].error
        assert (await one.log(builds[0].id)).count("Building /gnu/store/") == 1
        current = [await two.manager.environment(each.environment.id, ADMIN) for each in asked]
        profiles = {detail.version.profile for detail in current if detail.version}
        assert set(one.roots.held().values()) == profiles
        assert len(profiles) == 1
        assert (Path(profiles.pop()) / "bin/sed").exists()
