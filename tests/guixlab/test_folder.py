"""A Guix in a folder: daemons that come up, go down and recover, and a hub that trusts one key."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guixlab.accounts import write_accounts
from guixlab.contents import Choice
from guixlab.daemons import MARKER, KeeperRecord, down, is_up, publisher_answers, render_access_list, up
from guixlab.errors import ExitCode, LabError
from guixlab.folder import Contents, Folder, MachineFolder, find_folder
from guixlab.machine import daemon_answers, in_namespace, machine_plan, run_inside
from guixlab.processes import descendants, end_all, marked, start
from guixlab.stand_ins.farm import farm

CHECKOUT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.guix,
    pytest.mark.skipif("GUIXLAB" not in os.environ or os.geteuid() != 0, reason="not a Guix in a folder"),
]


@pytest.fixture
def lab() -> Folder:
    """The folder that these tests run in."""
    return find_folder(None)


@pytest.fixture
def folder(lab: Folder, tmp_path: Path) -> Iterator[Folder]:
    """Another folder with the same programs and empty stores."""
    other = Folder(tmp_path / "lab")
    other.path.mkdir()
    for name in ("guix", "debian", "bin", "wheels"):
        (other.path / name).symlink_to(lab.path / name)
    for path in (other.logs, other.mount_point):
        path.mkdir()
    other.provision_stamp.write_text(lab.provision_stamp.read_text())
    yield other
    down(other)


def processes(folder: Folder) -> list[int]:
    return [identity.pid for identity in marked(f"{MARKER}={folder.path}") if identity.is_alive()]


def test_daemons_come_up_stay_up_and_go_down(folder: Folder) -> None:
    record, started = up(folder, Choice.STAND_INS)
    assert started
    assert daemon_answers(folder.hub(Contents.STAND_INS))
    assert publisher_answers(record.port)
    began = time.monotonic()
    assert up(folder, Choice.AUTO) == (record, False)
    assert time.monotonic() - began < 2
    assert down(folder)
    assert processes(folder) == []
    assert not record.keeper.is_alive()
    assert not down(folder)


def test_what_a_killed_keeper_left_is_cleared_away(folder: Folder) -> None:
    first, _ = up(folder, Choice.STAND_INS)
    first.keeper.send(signal.SIGKILL)
    while first.keeper.is_alive():
        time.sleep(0.01)
    second, started = up(folder, Choice.STAND_INS)
    assert started
    assert second.keeper != first.keeper
    # The port stays, so what the hub's daemon remembers of it stays true.
    assert second.port == first.port
    assert set(processes(folder)) <= set(descendants(second.keeper.pid))


def test_one_daemon_that_ends_takes_the_others_down(folder: Folder) -> None:
    record, _ = up(folder, Choice.STAND_INS)
    os.kill(min(set(descendants(record.keeper.pid))), signal.SIGKILL)
    for _ in range(500):
        if KeeperRecord.read(folder) is None and not processes(folder):
            break
        time.sleep(0.02)
    assert is_up(folder) is None
    assert processes(folder) == []
    assert "ended with status" in (folder.logs / "keeper.log").read_text()


def test_two_at_once_start_one(folder: Folder) -> None:
    code = "import sys; from guixlab.daemons import *; from guixlab.folder import find_folder; "
    code += "up(find_folder(sys.argv[1]), Choice.STAND_INS)"
    both = [subprocess.Popen([sys.executable, "-c", code, str(folder.path)], cwd=CHECKOUT) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    record = KeeperRecord.read(folder)
    assert record is not None
    assert set(processes(folder)) <= set(descendants(record.keeper.pid))


def test_a_daemon_that_cannot_start_is_told(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guixlab.daemons.START_SECONDS", 2.0)
    folder.hub(Contents.STAND_INS).create()
    (folder.hub(Contents.STAND_INS).state / "daemon-socket").write_text("in the way")
    with pytest.raises(LabError, match="did not answer") as caught:
        up(folder, Choice.STAND_INS)
    assert caught.value.exit_code is ExitCode.DAEMON_SILENT
    assert processes(folder) == []


def test_a_stale_socket_is_no_daemon(folder: Folder) -> None:
    machine = folder.hub(Contents.STAND_INS)
    machine.socket.parent.mkdir(parents=True)
    os.chdir(machine.socket.parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    os.chdir(CHECKOUT)
    assert not daemon_answers(machine)
    up(folder, Choice.STAND_INS)
    assert daemon_answers(machine)


def test_everything_was_made_before_and_nothing_is_made_again(lab: Folder) -> None:
    began = time.monotonic()
    report = farm(lab, [])
    assert report.made == []
    assert time.monotonic() - began < 5


# --- whom the hub's daemon believes ---


@pytest.fixture
def stranger(lab: Folder, tmp_path: Path) -> Iterator[MachineFolder]:
    """A machine whose daemon is offered the farm's substitutes, and that trusts nobody yet."""
    record = is_up(lab)
    if record is None or record.contents is not Contents.STAND_INS:
        pytest.skip("this Guix has no farm")
    machine = MachineFolder(tmp_path / "stranger")
    machine.create()
    numbers = write_accounts(lab)
    os.chown(machine.store, 0, numbers["guixbuild"])
    machine.store.chmod(0o1775)
    (machine.configuration / "acl").write_text("(acl)\n")
    options = ["--build-users-group=guixbuild", f"--substitute-urls=http://127.0.0.1:{record.port}"]
    prepare = in_namespace(machine_plan(lab, machine), lab)
    pid = start(
        ["/usr/bin/guix-daemon", *options], prepare, environment=os.environ, output=tmp_path / "log", own_session=True
    )
    for _ in range(200):
        if daemon_answers(machine):
            break
        time.sleep(0.05)
    yield machine
    below = {pid, *descendants(pid)}
    end_all(lambda: [one for one in descendants(os.getpid()) if one in below])


def count_offered(lab: Folder, machine: MachineFolder) -> str:
    """How many substitutes for `tini` Guix would accept there."""
    script = (
        "(use-modules (guix) (gnu packages)) (with-store s "
        "(display (length (substitutable-paths s (list (derivation->output-path "
        '(package-derivation s (specification->package "tini") #:graft? #f)))))))'
    )
    file = machine.base / "ask.scm"
    file.write_text(script)
    return run_inside(lab, machine_plan(lab, machine), ["/usr/bin/guix", "repl", "--", file]).strip()


def test_substitutes_with_an_unknown_signature_are_refused(lab: Folder, stranger: MachineFolder) -> None:
    assert count_offered(lab, stranger) == "0"
    key = (lab.farm.configuration / "signing-key.pub").read_text()
    other = key.replace(key.split("#")[1], "AB" * 32)
    (stranger.configuration / "acl").write_text(render_access_list(other))
    assert count_offered(lab, stranger) == "0"
    (stranger.configuration / "acl").write_text(render_access_list(key))
    assert count_offered(lab, stranger) == "1"
    built = run_inside(lab, machine_plan(lab, stranger), ["/usr/bin/guix", "build", "--no-grafts", "tini"]).strip()
    assert (stranger.store / Path(built).name / "bin/tini").exists()


def test_official_contents_have_a_store_and_keys_of_their_own(folder: Folder) -> None:
    record, _ = up(folder, Choice.OFFICIAL)
    assert record.contents is Contents.OFFICIAL
    assert daemon_answers(folder.hub(Contents.OFFICIAL))
    assert not daemon_answers(folder.farm)
    shipped = (folder.guix_root / "etc/guix/acl").read_text()
    assert (folder.hub(Contents.OFFICIAL).configuration / "acl").read_text() == shipped
    assert shipped.count("public-key") == 2
    # Asking for the others is a change, asking for nothing in particular is not.
    assert up(folder, Choice.AUTO) == (record, False)
    other, started = up(folder, Choice.STAND_INS)
    assert started
    assert other.contents is Contents.STAND_INS
    assert not daemon_answers(folder.hub(Contents.OFFICIAL))


def test_what_builds_from_stand_ins_looks_for_no_machine_elsewhere(lab: Folder, tmp_path: Path) -> None:
    file = tmp_path / "look.scm"
    file.write_text(
        "(use-modules (ice-9 textual-ports))"
        '(display (string-null? (call-with-input-file "/etc/resolv.conf" get-string-all)))\n'
        '(catch \'getaddrinfo-error (lambda () (getaddrinfo "ftp.gnu.org")) (lambda _ (display " nobody")))\n'
    )
    machine = lab.hub(Contents.STAND_INS)
    said = run_inside(lab, machine_plan(lab, machine, names=False), ["/usr/bin/guix", "repl", "--", file])
    assert said.strip() == "#t nobody"
