"""Ways to come by the process that is to become a session."""

from dataclasses import dataclass
from typing import Protocol

from guix_environment.container import Network
from guix_environment.launcher_program import launcher_program
from guix_environment.launching import Channel, Waiting, divided, map_identifiers
from guix_environment.process_identity import ProcessIdentity
from guix_environment.processes import Account
from guixspawner.accounts import subordinate


class Launcher(Protocol):
    """A way to come by a waiting process."""

    async def prepare(self, account: Account, network: Network, log: int) -> Waiting:
        """Return a process of ACCOUNT that waits in a NETWORK, and whose output goes to the open file LOG.

        When cancelled, it leaves nothing.  Raises `SessionFailure`.
        """


@dataclass(frozen=True, slots=True)
class ColdLauncher:
    """Has the launcher's program fork for each container."""

    async def prepare(self, account: Account, network: Network, log: int) -> Waiting:
        """Return a process of ACCOUNT that waits in a NETWORK; see `Launcher`."""
        async with launcher_program().request(log) as channel:
            return await waiting_process(channel, account, network)


async def waiting_process(channel: Channel, account: Account, network: Network) -> Waiting:
    """Have the launcher behind CHANNEL make a process of ACCOUNT that waits in a NETWORK.  Raises `SessionFailure`."""
    return await divided(channel, account, network, _map_account)


async def _map_account(process: ProcessIdentity, account: Account) -> None:
    await (subordinate.map_identifiers if account.subordinate else map_identifiers)(process, account)
