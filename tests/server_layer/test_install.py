"""What the program does that installs the layer's wheels while Guix builds it."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Return a folder of packages that has `packaging`, as the layer does, and two more."""
    import packaging

    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "packaging").symlink_to(Path(packaging.__file__).parent)
    put(folder, "alpha", "1.0", "Beta>=2", "gone; python_version < '3'", 'extra-only; extra == "more"', "left-out")
    put(folder, "Beta", "2.1")
    return folder


def put(folder: Path, name: str, version: str, *requirements: str) -> None:
    """Put into FOLDER what is known about package NAME."""
    information = folder / f"{name}-{version}.dist-info"
    information.mkdir()
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {text}" for text in requirements)]
    (information / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")


def test_that_what_packages_require_is_looked_for(installer: ModuleType, packages: Path) -> None:
    installer.check_requirements(packages, frozenset({"left-out"}))
    with pytest.raises(SystemExit, match="alpha requires left-out"):
        installer.check_requirements(packages, frozenset())


def test_that_a_version_too_old_is_found(installer: ModuleType, packages: Path) -> None:
    put(packages, "gamma", "1.0", "beta>=3")
    with pytest.raises(SystemExit, match="gamma requires beta>=3"):
        installer.check_requirements(packages, frozenset({"left-out"}))


def test_that_an_extra_that_somebody_asks_for_counts(installer: ModuleType, packages: Path) -> None:
    put(packages, "gamma", "1.0", "alpha[more]")
    with pytest.raises(SystemExit, match="alpha requires extra-only"):
        installer.check_requirements(packages, frozenset({"left-out"}))


def test_that_commands_are_isolated(installer: ModuleType, tmp_path: Path) -> None:
    packages = installer.make_venv(tmp_path, Path(sys.base_prefix))
    for name in installer.COMMANDS:
        (tmp_path / "bin" / name).write_text(f"#!{tmp_path}/bin/python3\nprint()\n")
    (tmp_path / "bin/other").write_text("#!/bin/sh\n")
    installer.isolate(tmp_path, packages)
    for name in installer.COMMANDS:
        assert (tmp_path / "bin" / name).read_text() == f"#!{tmp_path}/bin/python3 -I\nprint()\n"
    assert (tmp_path / "bin/other").read_text() == "#!/bin/sh\n"


def test_that_a_command_that_is_not_isolated_fails_the_build(installer: ModuleType, tmp_path: Path) -> None:
    packages = installer.make_venv(tmp_path, Path(sys.base_prefix))
    for name in installer.COMMANDS:
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n'''exec' python3\n")
    with pytest.raises(SystemExit, match="does not start with the interpreter"):
        installer.isolate(tmp_path, packages)


def test_that_the_environment_is_one_of_its_own(installer: ModuleType, tmp_path: Path) -> None:
    packages = installer.make_venv(tmp_path, Path(sys.base_prefix))
    (packages / "sitecustomize.py").write_text("raise SystemExit('Guix's sitecustomize was followed')")
    (packages / "isolation.pth").write_text(installer.ISOLATION)
    script = "import sys; print(sys.prefix)"
    ended = subprocess.run([tmp_path / "bin/python3", "-I", "-c", script], text=True, capture_output=True, check=True)
    assert ended.stdout.strip() == str(tmp_path)


def test_that_only_code_that_is_linked_is_patched(installer: ModuleType, tmp_path: Path) -> None:
    kinds = {"shared": 3, "executable": 2, "relocatable": 1, "core": 4}
    for name, kind in kinds.items():
        (tmp_path / name).write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + bytes([kind, 0]))
    (tmp_path / "text").write_text("#!/bin/sh\n")
    (tmp_path / "link").symlink_to("shared")
    assert {path.name for path in tmp_path.iterdir() if installer.is_compiled(path)} == {"shared", "executable"}
