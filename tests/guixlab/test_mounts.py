"""Namespaces that are really made, by whoever runs the tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW = """
import json, os, sys
from pathlib import Path
from guixlab.errors import LabError
from guixlab.mounts import enter_namespace
from guixlab.namespace import Bind, Directory, Link, list_directory
folder = Path(sys.argv[1])
system = [Bind(f"/{e.name}", f"/{e.name}") if e.kind.value != "link" else Link(f"/{e.name}", e.destination)
          for e in list_directory(Path("/")) if e.name in ("usr", "bin", "lib", "lib64", "proc", "dev")]
os.chdir(folder / "inside")
try:
    enter_namespace([*system, Bind(str(folder / "shown"), "/gnu"), Bind(str(folder / "shown/file"), "/etc/file"),
                     Directory("/var/empty"), Link("/etc/link", "file"), Bind(str(folder), str(folder))], folder / "mount")
except LabError as error:
    print(json.dumps({"refused": error.message}))
    sys.exit()
print(json.dumps({
    "root": sorted(name for name in os.listdir("/")), "gnu": os.listdir("/gnu"), "etc": sorted(os.listdir("/etc")),
    "file": open("/etc/link").read(), "directory": os.getcwd(), "user": os.getuid(), "mounted": os.listdir(folder / "mount"),
    "below": os.listdir("/gnu/below"),
}))
"""


def test_a_plan_is_what_a_process_sees(tmp_path: Path) -> None:
    for name in ("shown/below", "inside", "mount"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "shown/file").write_text("text")
    result = subprocess.run([sys.executable, "-c", SHOW, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    if "refused" in seen:
        assert os.getuid() != 0
        pytest.skip(seen["refused"])
    assert {"gnu", "etc", "var", "usr"} <= set(seen["root"])
    assert "root" not in seen["root"]
    assert sorted(seen["gnu"]) == ["below", "file"]
    assert seen["etc"] == ["file", "link"]
    assert seen["file"] == "text"
    assert seen["directory"] == str(tmp_path / "inside")
    assert seen["user"] == os.getuid()
    # The new root is not mounted into itself, and nothing of it is left outside.
    assert seen["mounted"] == []
    assert list((tmp_path / "mount").iterdir()) == []


def test_what_cannot_be_shown_is_named(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from guixlab.mounts import enter_namespace; "
        "from guixlab.namespace import Bind; enter_namespace([Bind('/no/such/thing', '/gnu')], Path(sys.argv[1]))"
    )
    result = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode != 0
    assert "/no/such/thing" in result.stderr or "user namespaces" in result.stderr
