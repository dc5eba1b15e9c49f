"""What a way out is made of: what the machine must have, its command, its root, and its routes in the kernel's words."""

import os
from pathlib import Path

import pytest

from guix_environment.errors import SessionFailure
from guix_environment.outbound import netlink, program
from guixspawner.network import outbound
from guixspawner.network.outbound import PipeEnd, WayOut, command, find
from tests.open_files import high_numbers


def test_what_a_machine_lacks_is_said(tmp_path: Path) -> None:
    with pytest.raises(SessionFailure, match="is not installed") as failure:
        find("no-such-program", root=True)
    assert "slirp4netns" in failure.value.hint
    with pytest.raises(SessionFailure, match="there is no"):
        find("true", root=True, tun=tmp_path / "tun")
    (tmp_path / "tun").touch(0o600)
    with pytest.raises(SessionFailure, match="is closed to this account"):
        find("true", root=False, tun=tmp_path / "tun")
    assert find("true", root=True, tun=tmp_path / "tun").program.endswith("/true")


def test_the_command() -> None:
    assert command(WayOut("/usr/bin/slirp4netns"), ready=7, life=9) == (
        "/usr/bin/slirp4netns",
        "--configure",
        "--mtu=65520",
        "--cidr=198.18.0.0/24",
        "--disable-host-loopback",
        "--enable-seccomp",
        "--ready-fd=7",
        "--exit-fd=9",
        "--netns-type=path",
        "{network}",
        "tap0",
    )
    assert outbound.RESOLVER.encode() in WayOut("x").resolv_conf


def test_names_are_resolved_wherever_the_machine_keeps_how(tmp_path: Path) -> None:
    link = tmp_path / "resolv.conf"
    seen = seen_with(link)
    link.symlink_to("/run/systemd/resolve/stub-resolv.conf")
    assert seen_with(link) == seen, "a folder that is shown in any case"
    link.unlink()
    link.symlink_to("../mnt/wsl/resolv.conf")
    (more,) = seen_with(link) - seen
    assert more == ("bind", "/mnt/wsl/resolv.conf", "/mnt/wsl/resolv.conf", "ro", "optional")


def seen_with(resolv_conf: Path) -> set[tuple[str, ...]]:
    return set(program.operations(0, "/usr/bin/slirp4netns", str(resolv_conf)))


def test_a_route_in_the_kernels_words() -> None:
    assert netlink.unreachable("169.254.0.0/16", 1).hex() == (
        "2400000018000506010000000000000002100000fe0400070000000008000100a9fe0000"
    )
    assert netlink.unreachable("fe80::/10", 2)[16:18] == bytes([10, 10])


def test_addresses_out_of_the_kernels_words() -> None:
    assert "127.0.0.1" not in netlink.own_addresses()
    message = bytes.fromhex("2000000014000200010000000000000002188000020000000800020005060708")
    done = bytes.fromhex("1400000003000200010000000000000000000000")
    assert netlink.addresses_in(message) == (["5.6.7.8"], False)
    assert netlink.addresses_in(message + done) == (["5.6.7.8"], True)


def test_a_hub_with_thousands_of_open_files_reads_what_a_way_out_says() -> None:
    with high_numbers(*os.pipe()) as (reading, writing):
        end = PipeEnd(reading)
        assert end.read(0) == b""
        os.write(writing, b"1")
        assert end.read(10) == b"1"
