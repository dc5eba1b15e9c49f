"""Accounts for the namespaces, beside those of the host."""

from pathlib import Path

from guixlab.accounts import (
    BUILD_GROUP,
    BUILD_USERS,
    SERVICE_ACCOUNT,
    choose_numbers,
    first_number,
    render_group,
    render_passwd,
)


def test_numbers_avoid_the_hosts_and_stay_what_they_were() -> None:
    first = choose_numbers({}, {59800, 59802}, 59800)
    assert len(set(first.values())) == len(BUILD_USERS) + 2
    assert not {59800, 59802} & set(first.values())
    assert choose_numbers(first, {59801}, 59800) == first


def test_the_hosts_accounts_are_all_there() -> None:
    numbers = choose_numbers({}, set(), 59990)
    host = "root:x:0:0:root:/root:/bin/bash\nguixbuilder01:x:995:995::/var/empty:/bin/false\n"
    lines = render_passwd(host, numbers).splitlines()
    assert lines[0] == "root:x:0:0:root:/root:/bin/bash"
    names = [line.split(":")[0] for line in lines]
    assert names == ["root", *BUILD_USERS, SERVICE_ACCOUNT]
    assert all(len(line.split(":")) == 7 for line in lines)


def test_the_build_group_has_its_members() -> None:
    numbers = choose_numbers({}, set(), 59990)
    lines = render_group("root:x:0:\nguixbuild:x:995:someone\n", numbers).splitlines()
    assert lines == [
        "root:x:0:",
        f"{BUILD_GROUP}:x:{numbers[BUILD_GROUP]}:{','.join(BUILD_USERS)}",
        f"{SERVICE_ACCOUNT}:x:{numbers[SERVICE_ACCOUNT]}:",
    ]


def test_two_folders_do_not_share_build_users() -> None:
    one = choose_numbers({}, set(), first_number(Path("/srv/one/guix")))
    two = choose_numbers({}, set(), first_number(Path("/srv/two/guix")))
    assert set(one.values()).isdisjoint(two.values())
    assert first_number(Path("/srv/one/guix")) == one[BUILD_GROUP]
