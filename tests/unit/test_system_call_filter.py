"""The rules for system calls, and the program that is made of them."""

import errno
import struct

from guix_environment.system_call_filter import ABSENT, REFUSED, compiled, rules


def test_what_research_needs_is_not_among_the_refused() -> None:
    needed = {
        "clone",
        "fork",
        "execve",
        "mmap",
        "mbind",
        "set_mempolicy",
        "sched_setaffinity",
        "memfd_create",
        "inotify_init1",
    }
    assert not needed & (REFUSED | ABSENT)


def test_rules_are_in_one_order_and_each_call_once() -> None:
    whole = [rule.call for rule in rules() if not rule.conditions]
    assert len(whole) == len(set(whole)) == len(REFUSED) + len(ABSENT)
    assert rules() == rules()


def test_an_administrator_may_allow_some() -> None:
    assert {rule.call for rule in rules()} - {rule.call for rule in rules({"ptrace"})} == {"ptrace"}
    assert compiled(frozenset({"ptrace"})) != compiled()


def test_the_program_is_one_that_the_kernel_takes() -> None:
    program = compiled()
    instructions = list(struct.iter_unpack("HBBI", program))
    assert 20 < len(instructions) < 4096
    returned = {value for code, _, _, value in instructions if code == 0x06}
    assert returned >= {0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS, 0x00050000 | errno.EAFNOSUPPORT}
