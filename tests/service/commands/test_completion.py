"""The shell completes what is typed, by the script that is printed for it."""

import subprocess
from pathlib import Path

import pytest

from guix_build_service.command_line import main
from guix_build_service.commands.completion import SHELLS, script
from guix_build_service.commands.outcomes import ExitStatus

ASK = """
source /dev/stdin
found=$(complete -p guix-build-service)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
found=${found#* -F }
"${found% *}" guix-build-service 2>/dev/null
printf "%s\\n" "${COMPREPLY[@]}"
"""


def completed(folder: Path, *words: str) -> set[str]:
    """Return what bash offers for the last one of WORDS."""
    command = ["bash", "--norc", "-c", ASK, "bash", "guix-build-service", *words]
    done = subprocess.run(command, input=script("bash"), capture_output=True, text=True, check=True, cwd=folder)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ro"], {"rollback"}),
        (["d"], {"delete", "doctor", "downgrade"}),
        (["list", "--st"], {"--state"}),
        (["list", "--state", "re"], {"ready", "resolving", "reading"}),
        (["tokens", ""], {"list", "create", "revoke"}),
        (["import", "gal"], {"gallery.yaml"}),
        (["read", "gal"], {"gallery.yaml"}),
        (["export", "plots", "--into", ""], {"folder"}),
        (["completion", ""], set(SHELLS)),
    ],
)
def test_bash_offers_what_can_stand_there(tmp_path: Path, words: list[str], offered: set[str]) -> None:
    (tmp_path / "gallery.yaml").touch()
    (tmp_path / "folder").mkdir()
    assert completed(tmp_path, *words) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script_of_its_own(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == ExitStatus.DONE
    printed = capsys.readouterr().out
    assert "rollback" in printed
    assert printed == script(shell)


@pytest.mark.parametrize("words", [[], ["ksh"]])
def test_a_shell_that_is_not_known_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", *words]) == ExitStatus.MISUSED
    said = capsys.readouterr()
    assert (said.out, "completion --help" in said.err) == ("", True)
