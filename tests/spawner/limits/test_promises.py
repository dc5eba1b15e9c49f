"""What a machine may promise to its sessions."""

import pytest

from guix_environment.errors import LimitReached
from guixspawner.limits import Limits, Machine, Promises

MACHINE = Machine(memory=1000, cores=2.0)


def test_a_machine_is_promised_as_a_whole_and_no_more() -> None:
    promises = Promises()
    promises.make("a.default", Limits(memory_guarantee=600), MACHINE)
    promises.make("b.default", Limits(memory_guarantee=400), MACHINE)
    with pytest.raises(LimitReached, match="All the memory of this machine is promised"):
        promises.make("c.default", Limits(memory_guarantee=1), MACHINE)
    promises.make("c.default", Limits(), MACHINE)


def test_cores_are_promised_too() -> None:
    promises = Promises()
    for number in range(20):
        promises.make(f"p{number}.default", Limits(cpu_guarantee=0.1), MACHINE)
    with pytest.raises(LimitReached, match="All the computing time of this machine is promised"):
        promises.make("q.default", Limits(cpu_guarantee=0.1), MACHINE)


def test_what_ends_is_free_again() -> None:
    promises = Promises()
    promises.make("a.default", Limits(memory_guarantee=1000), MACHINE)
    promises.release("a.default")
    promises.release("a.default")
    promises.make("b.default", Limits(memory_guarantee=1000), MACHINE)


def test_a_session_does_not_stand_in_its_own_way() -> None:
    promises = Promises()
    promises.make("a.default", Limits(memory_guarantee=700), MACHINE)
    promises.make("a.default", Limits(memory_guarantee=800), MACHINE)


def test_a_refusal_promises_nothing() -> None:
    promises = Promises()
    with pytest.raises(LimitReached):
        promises.make("a.default", Limits(memory_guarantee=2000), MACHINE)
    promises.make("b.default", Limits(memory_guarantee=1000), MACHINE)


def test_what_was_promised_before_a_restart_counts() -> None:
    promises = Promises()
    promises.remember("a.default", Limits(memory_guarantee=900))
    with pytest.raises(LimitReached):
        promises.make("b.default", Limits(memory_guarantee=200), MACHINE)


def test_this_machine() -> None:
    machine = Machine.own()
    assert machine.memory > 256 * 1024**2
    assert machine.cores >= 1
