"""Kernel specifications are read as what they are: files of packages that might be odd, and rewritten for sessions."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from guix_build_service.pipeline import kernels
from guix_build_service.pipeline.kernels import LARGEST_LOGO, LARGEST_SPECIFICATION, find_kernels, write_kernels
from guix_environment.identifiers import StorePath, VariableName
from guix_environment.session_layout import KERNEL_LAUNCHER

GOOD = {
    "argv": ["/gnu/store/x-python-3.11/bin/python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "metadata": {"debugger": True, "secret": "dropped"},
    "env": {"OWN": "cost: $5"},
    "unknown": 1,
}


class FakeProfile(str):
    """A folder that stands for a profile of the store."""

    __slots__ = ()


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StorePath:
    folder = tmp_path / "store"
    (folder / "share/jupyter/kernels").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin/python3").touch()
    monkeypatch.setattr(kernels, "_STORE", f"{folder}/")
    return FakeProfile(folder)  # type: ignore[return-value] # any folder, for files of any kind


def specification(profile: StorePath, name: str, content: object) -> Path:
    folder = Path(profile, "share/jupyter/kernels", name)
    folder.mkdir()
    (folder / "kernel.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_a_kernel_starts_in_its_profile_with_its_variables_behind_the_launcher(profile: StorePath, tmp_path: Path) -> None:
    specification(profile, "python3", GOOD)
    variables = {
        VariableName("PATH"): f"{profile}/bin",
        VariableName("ODD"): "${HOME}",
        VariableName("JUPYTER_PATH"): f"{profile}/share/jupyter",
    }
    [kernel] = write_kernels(profile, variables, tmp_path / "out")
    assert (kernel.name, kernel.display_name, kernel.language) == ("python3", "Python 3 (ipykernel)", "python")
    assert json.loads((tmp_path / "out/python3/kernel.json").read_text()) == {
        "argv": [KERNEL_LAUNCHER, f"{profile}/bin/python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {"debugger": True},
        "env": {"OWN": "cost: $$5", "PATH": f"{profile}/bin", "ODD": "$${HOME}"},
    }


def test_no_code_of_a_package_runs_before_the_servers_secrets_are_gone(profile: StorePath, tmp_path: Path) -> None:
    early = ("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GLIBC_TUNABLES", "GCONV_PATH", "BASH_ENV", "ENV")
    specification(profile, "python3", GOOD | {"env": dict.fromkeys([*early, "OWN"], "/gnu/store/x/evil.so")})
    write_kernels(profile, {VariableName("LD_PRELOAD"): f"{profile}/evil.so"}, tmp_path / "out")
    assert set(json.loads((tmp_path / "out/python3/kernel.json").read_text())["env"]) == {"OWN"}


def test_a_program_that_the_profile_lacks_stays_where_the_package_has_it(profile: StorePath, tmp_path: Path) -> None:
    specification(profile, "other", GOOD | {"argv": ["/gnu/store/x/libexec/kernel", "{connection_file}"]})
    write_kernels(profile, {}, tmp_path / "out")
    argv = json.loads((tmp_path / "out/other/kernel.json").read_text())["argv"]
    assert argv == [KERNEL_LAUNCHER, "/gnu/store/x/libexec/kernel", "{connection_file}"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{",
        {},
        GOOD | {"argv": []},
        GOOD | {"argv": "sh -c id"},
        GOOD | {"argv": [1]},
        GOOD | {"argv": ["a\0b"]},
        GOOD | {"env": [1]},
        GOOD | {"env": {"BAD NAME": "1"}},
        " " * (LARGEST_SPECIFICATION + 1),
        "[" * 50_000,
    ],
)
def test_a_damaged_kernel_is_left_out_and_the_others_stay(profile: StorePath, content: object) -> None:
    specification(profile, "bad", content)
    specification(profile, "good", GOOD)
    assert [found.kernel.name for found in find_kernels(profile)] == ["good"]


@pytest.mark.parametrize("name", ["..x", "-x", "a b", "x" * 101])
def test_a_kernel_whose_name_is_none_is_left_out(profile: StorePath, name: str) -> None:
    specification(profile, name, GOOD)
    assert find_kernels(profile) == []


def test_what_people_read_has_no_invisible_characters(profile: StorePath) -> None:
    specification(profile, "odd", GOOD | {"display_name": "Py\x1b[31m\u202ethon\n" + "x" * 200, "language": 7})
    [found] = find_kernels(profile)
    assert found.kernel.display_name.startswith("Py[31mthonxxx")
    assert len(found.kernel.display_name) == 100
    assert found.kernel.language == ""


def _link(folder: Path, outside: Path) -> None:
    (folder / "logo-64x64.png").symlink_to(outside)


def _large(folder: Path, outside: Path) -> None:
    del outside
    (folder / "logo-64x64.png").write_bytes(b"x" * (LARGEST_LOGO + 1))


def _other_name(folder: Path, outside: Path) -> None:
    del outside
    (folder / "logo-64x64.html").write_text("<script>")


@pytest.mark.parametrize("make", [_link, _large, _other_name])
def test_only_logos_of_the_store_are_copied(profile: StorePath, tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    outside = tmp_path / "secret"
    outside.write_text("secret")
    folder = specification(profile, "python3", GOOD)
    (folder / "logo-32x32.png").write_bytes(b"PNG")
    make(folder, outside)
    write_kernels(profile, {}, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out/python3").iterdir()) == ["kernel.json", "logo-32x32.png"]


def test_a_specification_that_leads_out_of_the_store_is_left_out(profile: StorePath, tmp_path: Path) -> None:
    (tmp_path / "kernel.json").write_text(json.dumps(GOOD))
    folder = Path(profile, "share/jupyter/kernels/link")
    folder.mkdir()
    (folder / "kernel.json").symlink_to(tmp_path / "kernel.json")
    Path(profile, "share/jupyter/kernels/all").symlink_to(tmp_path)
    assert find_kernels(profile) == []
