"""Which addresses are whose: the open internet's, a machine's own and its neighbours', and those of a cloud's agents.

Sources: the registries of special-purpose addresses (RFC 6890 and its successors) and of special-use names (RFC 6761 and its
successors), and the documentation of the clouds for the addresses and names at which they tell a machine its secrets.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LINK_LOCAL_AND_METADATA: tuple[Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "100.100.100.200/32",  # Alibaba Cloud's metadata
        "168.63.129.16/32",  # Azure's agents
        "192.0.0.192/32",  # Oracle Cloud's metadata
        "fd00:ec2::254/128",  # AWS's metadata
        "fe80::/10",  # link-local
    )
)
"""What a session never reaches: who answers there trusts everybody on the machine."""

_UNICAST_OF_SIX = ipaddress.IPv6Network("2000::/3")
"""All that IANA gives out to the open internet (RFC 4291, 2.4)."""

_NOT_PUBLIC = (
    *LINK_LOCAL_AND_METADATA,
    *(
        ipaddress.ip_network(network)
        for network in (
            # What `is_global` of Python 3.11 takes for public and is not: multicast, translations of IPv4 addresses, relays,
            # and addresses for documentation.
            "224.0.0.0/4",
            "240.0.0.0/4",
            "192.88.99.0/24",
            "2001::/32",
            "2002::/16",
            "3fff::/20",
        )
    ),
)

_NAMES_AROUND = frozenset(
    {
        # Of the machine itself and of networks around it (RFC 6761, 6762, 8375, 9476; ICANN's `internal`; common habits).
        *("localhost", "localdomain", "local", "internal", "intranet", "private", "corp", "home", "lan"),
        *("home.arpa", "in-addr.arpa", "ip6.arpa", "alt", "onion", "invalid"),
        # Of clusters and of containers.
        *("svc", "consul", "docker", "pod"),
        # Of clouds' agents, outside `internal`.
        *("metadata.goog", "metadata.tencentyun.com", "metadata.packet.net", "metadata.platformequinix.com"),
        # Names that lead to whichever address they spell, or to the machine itself, or somewhere else each time.
        *("nip.io", "sslip.io", "xip.io", "localtest.me", "lvh.me", "vcap.me", "lacolhost.com", "traefik.me"),
        *("backname.io", "rbndr.us", "1u.ms"),
    }
)


def is_name_around(name: str) -> bool:
    """Tell whether the host NAME, in lower case, is known without asking to lead to a machine or network around us.

    A name without a dot is completed by the resolver with the network's own domain.
    """
    labels = name.split(".")
    return len(labels) == 1 or any(".".join(labels[start:]) in _NAMES_AROUND for start in range(len(labels)))


def as_address(host: str) -> Address | None:
    """Return the address that HOST spells out, with or without the brackets of an address of IPv6; None for a name."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Tell whether ADDRESS is one of the open internet's."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address not in _UNICAST_OF_SIX:
            return False
    return address.is_global and not within(address, _NOT_PUBLIC)


def within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Tell whether ADDRESS is in one of NETWORKS."""
    return any(address.version == network.version and address in network for network in networks)
