"""Containers made by ``guix shell --container``, for whoever wants Guix's own.

Slower and larger than the installation's own launcher: Guix takes seconds, asks the daemon, and stays in memory with each
session.  It makes its own ``/etc/passwd`` and network, has no filter for system calls, and takes no account that the machine
does not know.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from guix_environment import process_identity
from guix_environment.container import SECRETS, ContainerPlan, Network, PlacedFile, plain_division, plain_order
from guix_environment.errors import ContainerFailure
from guix_environment.identifiers import StorePath
from guix_environment.launcher_program import launcher_program
from guix_environment.launching import Waiting, first_process, refuse_root
from guix_environment.process_identity import ProcessIdentity
from guix_environment.processes import Account

_ITS_OWN = frozenset({"/bin/sh", "/etc/group", "/etc/hosts", "/etc/passwd"})
"""What Guix makes itself, and fails over when it is there (``launch-environment/container`` in its ``environment.scm``)."""

_OF_THE_NETWORK = frozenset({"/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/services"})
"""What Guix shows beside that where it shares the machine's network."""

_SET_BY_GUIX = frozenset({"GUIX_ENVIRONMENT", "HOME", "LOGNAME", "TMPDIR", "USER"})
"""Variables that Guix gives a container itself, where none of the same name is preserved."""

_PAUSE = 0.05
"""Seconds between looks at whether the container runs its command."""


def words(guix: str, profile: StorePath, user: str, plan: ContainerPlan, files: Mapping[str, str]) -> tuple[str, ...]:
    """Return the command by which Guix makes PLAN's container around PROFILE, in which the account is called USER.

    FILES says of each placed file's place where it is on the machine.  Variables are named, and their values are not here.
    """
    return (
        *(guix, "shell", "--container", "--no-cwd", f"--profile={profile}", f"--user={user}"),
        *(["--network"] if plan.network is Network.HOST else []),
        *(f"--preserve=^{name}$" for name in sorted(plan.variables.keys() - _SET_BY_GUIX)),
        *([f"--preserve=^{SECRETS}$"] if plan.secrets else []),
        *_shared(plan, files),
        *("--", *plan.command),
    )


def _shared(plan: ContainerPlan, files: Mapping[str, str]) -> Iterator[str]:
    there = _ITS_OWN | _OF_THE_NETWORK if plan.network is Network.HOST else _ITS_OWN
    for item in plan.store_items:
        yield f"--expose={item}"
    for mount in plan.mounts:
        if mount.target not in there:
            yield f"--{'share' if mount.writable else 'expose'}={mount.source}={mount.target}"
    shown = {**files, **{link.target: link.points_to for link in plan.links}}
    for target, source in shown.items():
        if target not in there:
            yield f"--expose={source}={target}"


@dataclass(frozen=True, slots=True)
class GuixShell:
    """Has Guix make containers."""

    profile: StorePath
    """The profile whose search paths the session's own programs have."""
    user: str
    guix: str = "guix"
    variables: Mapping[str, str] = field(default_factory=dict)
    """What Guix itself needs of the hub's environment."""

    async def prepare(self, account: Account, network: Network, log: int) -> "WaitingForGuix":
        """Return a process of ACCOUNT that waits; `Launcher.prepare` tells more, and Guix makes the NETWORK later."""
        del network
        refuse_root(account)
        async with launcher_program().request(log) as channel:
            first = await first_process(channel, plain_division(account.groups))
        return WaitingForGuix(first, account, channel, self)


@dataclass(frozen=True, slots=True)
class WaitingForGuix(Waiting):
    """A process that is to become Guix."""

    shell: GuixShell

    async def run(self, plan: ContainerPlan) -> ProcessIdentity:
        """Have Guix make PLAN, and return the container's first process once its command runs; see `Waiting.run`."""
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="guix-session-"))
        try:
            plan = await asyncio.to_thread(_as_guix_takes_it, plan)
            command = words(
                shutil.which(self.shell.guix) or self.shell.guix,
                self.shell.profile,
                self.shell.user,
                plan,
                await asyncio.to_thread(_placed, plan, folder),
            )
            # Guix's own home would be the one that only the container has.
            variables = {**plan.variables, **self.shell.variables, "HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
            await self.become(plain_order(command, variables, plan.secrets, self.account.uid, self.account.gid))
            return await self._container(plan.command[0])
        except BaseException:
            # Guix's end would not be its container's.
            for process in (*process_identity.children(self.first), self.first):
                process_identity.send_signal(process, signal.SIGKILL)
            raise
        finally:
            await asyncio.to_thread(shutil.rmtree, folder)

    async def _container(self, program: str) -> ProcessIdentity:
        """Return the process that runs PROGRAM below Guix, once there is one.  Raises `ContainerFailure` when Guix ends."""
        wanted = await asyncio.to_thread(os.path.realpath, program)
        while process_identity.is_running(self.first):
            for child in process_identity.children(self.first):
                if process_identity.program(child) == wanted:
                    return child
            await asyncio.sleep(_PAUSE)
        raise ContainerFailure(
            "Guix could not make the session's container.",
            hint="Tell whoever runs this installation; the session's log says why.",
            details={"step": "container", "reason": "guix shell ended"},
        )


def _placed(plan: ContainerPlan, folder: Path) -> dict[str, str]:
    """Write PLAN's files into FOLDER, and return where each is; the container keeps them when the folder goes."""
    places = {}
    folder.chmod(0o755)
    for number, file in enumerate(plan.files):
        place = folder / str(number)
        place.write_bytes(file.content)
        place.chmod(file.mode)
        places[file.target] = str(place)
    return places


def _as_guix_takes_it(plan: ContainerPlan) -> ContainerPlan:
    """Return PLAN without the optional mounts that the machine has nothing for, and with the content of those of files.

    A file's place is often a link, such as the one of the time zone, which Guix would make in the container as it is.
    """
    there = [mount for mount in plan.mounts if not mount.optional or Path(mount.source).exists()]
    files = [mount for mount in there if Path(mount.source).is_file() and not mount.writable]
    copies = (PlacedFile(mount.target, Path(mount.source).read_bytes()) for mount in files)
    return replace(plan, mounts=tuple(mount for mount in there if mount not in files), files=(*plan.files, *copies))
