"""Routes and addresses of a network namespace, in the kernel's own words (rtnetlink(7)).

Constants are those of ``linux/rtnetlink.h``, ``linux/netlink.h`` and ``linux/if_addr.h``.
"""

import _socket as socket  # what `socket` adds takes the program more time than everything else that it does
import os
import struct

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_RTM_NEWADDR = 20
_RTM_GETADDR = 22
_RTM_NEWROUTE = 24
_REQUEST, _ACKNOWLEDGE, _CREATE, _EXCLUSIVE, _DUMP = 0x1, 0x4, 0x400, 0x200, 0x300
_RT_TABLE_MAIN = 254
_RTPROT_STATIC = 4
_RTN_UNREACHABLE = 7
_RTA_DST = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_EEXIST = 17

_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")


def unreachable(network: str, number: int) -> bytes:
    """Return the request NUMBER for a route by which nobody reaches NETWORK, an address with the length of its prefix."""
    address, _, length = network.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    route = _ROUTE.pack(family, int(length), 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, 0, _RTN_UNREACHABLE, 0)
    body = route + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _RTA_DST) + packed
    flags = _REQUEST | _ACKNOWLEDGE | _CREATE | _EXCLUSIVE
    return _HEADER.pack(_HEADER.size + len(body), _RTM_NEWROUTE, flags, number, 0) + body


def all_addresses(number: int) -> bytes:
    """Return the request NUMBER for every address of this namespace."""
    body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return _HEADER.pack(_HEADER.size + len(body), _RTM_GETADDR, _REQUEST | _DUMP, number, 0) + body


def addresses_in(answer: bytes) -> "tuple[list[str], bool]":
    """Return the addresses that ANSWER, a part of the kernel's, tells of, and whether it is the last part."""
    found: list[str] = []
    while answer:
        length, kind, _, _, _ = _HEADER.unpack_from(answer)
        if kind in (_NLMSG_DONE, _NLMSG_ERROR):
            return found, True
        if kind == _RTM_NEWADDR:
            family = answer[_HEADER.size]
            attributes = _attributes(answer[_HEADER.size + _ADDRESS.size : length])
            packed = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS))
            if packed:
                found.append(socket.inet_ntop(family, packed))
        answer = answer[_aligned(length) :]
    return found, False


def own_addresses() -> "list[str]":
    """Return every address of this namespace, without those of its loopback.  Raises `OSError`."""
    found: list[str] = []
    last = False
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        netlink.send(all_addresses(1))
        while not last:
            some, last = addresses_in(netlink.recv(1 << 20))
            found += some
    finally:
        netlink.close()
    return [address for address in found if not address.startswith("127.") and address != "::1"]


def refuse(networks: "list[str]") -> None:
    """Let nobody in this namespace reach NETWORKS.  Raises `OSError`."""
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        for number, network in enumerate(networks, 1):
            netlink.send(unreachable(network, number))
            error = -struct.unpack_from("=i", netlink.recv(1 << 16), _HEADER.size)[0]
            if error not in (0, _EEXIST):
                raise OSError(error, f"refusing {network}: {os.strerror(error)}")
    finally:
        netlink.close()


def _attributes(content: bytes) -> "dict[int, bytes]":
    found = {}
    while len(content) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(content)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = content[_ATTRIBUTE.size : length]
        content = content[_aligned(length) :]
    return found


def _aligned(length: int) -> int:
    return length + 3 & ~3
