"""Which addresses are whose: the open internet's, a machine's own and its neighbours', and those of a cloud's agents.

Sources: the registries of special-purpose addresses (RFC 6890 and its successors), and the documentation of the clouds for
the addresses at which they tell a machine its secrets.
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

_NOT_PUBLIC = (
    *LINK_LOCAL_AND_METADATA,
    *(
        ipaddress.ip_network(network)
        for network in (
            # What `is_global` of Python 3.11 takes for public and is not: multicast, translations of IPv4 addresses, old
            # site-local addresses, and relays.
            "224.0.0.0/4",
            "240.0.0.0/4",
            "192.88.99.0/24",
            "::/96",
            "64:ff9b::/96",
            "64:ff9b:1::/48",
            "2001::/32",
            "2002::/16",
            "fec0::/10",
            "ff00::/8",
        )
    ),
)


def is_public(address: Address) -> bool:
    """Tell whether ADDRESS is one of the open internet's."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None:
        return is_public(mapped)
    return address.is_global and not within(address, _NOT_PUBLIC)


def within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Tell whether ADDRESS is in one of NETWORKS."""
    return any(address.version == network.version and address in network for network in networks)
