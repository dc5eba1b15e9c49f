"""Looking up names, once, and whose addresses they lead to."""

import asyncio
import ipaddress
from collections.abc import Sequence

import pytest

from guix_environment.resolution import is_this_machine, resolved, system_resolver


async def test_each_address_comes_once_and_in_order() -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        assert (host, port) == ("a.example", 443)
        return ["192.0.2.2", "192.0.2.1", "192.0.2.2", "2001:db8::1"]

    found = await resolved(resolver, "a.example", 443, 10)
    assert [str(address) for address in found] == ["192.0.2.2", "192.0.2.1", "2001:db8::1"]


@pytest.mark.parametrize("answer", [[], ["nonsense"], ["192.0.2.1", ""], OSError(), UnicodeError(), None])
async def test_what_is_no_answer_is_one_error(answer: Sequence[str] | Exception | None) -> None:
    async def resolver(_host: str, _port: int) -> Sequence[str]:
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        return answer or []

    with pytest.raises(OSError, match=r"no address of a\.example|has no address|^$"):
        await resolved(resolver, "a.example", 443, 0.05)


async def test_addresses_are_not_looked_up() -> None:
    assert list(await system_resolver("127.0.0.1", 80)) == ["127.0.0.1"]


def test_the_machine_s_own_addresses() -> None:
    assert is_this_machine(ipaddress.ip_address("127.0.0.1"))
    # For documentation (RFC 5737, RFC 3849), and on no machine.
    assert not is_this_machine(ipaddress.ip_address("192.0.2.1"))
    assert not is_this_machine(ipaddress.ip_address("2001:db8::1"))
